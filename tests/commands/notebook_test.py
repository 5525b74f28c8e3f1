"""The notebook in examples/ runs in a kernel, in an empty folder, as it was kept: without an error and any noise."""

import os
import pathlib

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = [pytest.mark.slow, pytest.mark.any_backend]

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(path, as_version=4)
    kept = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    made = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert [_kinds(outputs) for outputs in made] == [_kinds(outputs) for outputs in kept]


def _kinds(outputs: list) -> set[tuple[str, str | None]]:
    """Returns what kinds of output a cell has, and on which streams."""
    return {(output.output_type, output.get("name")) for output in outputs}
