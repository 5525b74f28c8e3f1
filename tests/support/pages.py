"""Made-up sweeps without trainings, and the text of their pages, for the tests of the reports."""

import json
import pathlib
import re

import matplotlib.figure
import numpy as np
import pytest
from ml_collections import ConfigDict
from scipy import stats

from configs import smoke
from gnexp import report
from gnexp.config.paths import nested
from gnexp.config.stored import record, to_json
from gnexp.workdir import result
from gnexp.workdir.result import Result

HEADINGS = [
    "What the sweep asks",
    "The best trials",
    "Curves",
    "What each hyperparameter does",
    "Importance",
    "Failures",
]


def capture(monkeypatch: pytest.MonkeyPatch, drawn: list) -> None:
    """Adds each figure that is saved from now on to `drawn`."""
    savefig = matplotlib.figure.Figure.savefig

    def save(figure, *arguments, **options):
        drawn.append(figure)
        return savefig(figure, *arguments, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", save)


def sweep(directory: pathlib.Path, space: dict, tuner="random", executions=1, **changes) -> pathlib.Path:
    """Creates the workdir of a sweep without trials."""
    config = smoke.get_config()
    config.update_from_flattened_dict(changes)
    config.sweep = ConfigDict(
        {"tuner": tuner, "max_trials": 50, "executions": executions, "max_failures": 5, "seed": 0, "factor": 3}
    )
    config.sweep.space = ConfigDict(nested(space))
    (directory / "oracle").mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(to_json(record(config, "digits"))))
    return directory


def trial(
    directory: pathlib.Path,
    number: int,
    values: dict,
    scores=(),
    status="COMPLETED",
    message=None,
    objective="val_accuracy",
    epochs=3,
    tests=None,
):
    """Adds a trial to a sweep.

    Each score is that of an execution, which reaches it in its last epoch; `tests` are the test accuracies.
    """
    state = {"trial_id": f"{number:04}", "hyperparameters": {"space": [], "values": values}}
    state |= {"metrics": {}, "score": None, "best_step": 0, "status": status, "message": message}
    folder = directory / "oracle" / f"trial_{number:04}"
    folder.mkdir()
    (folder / "trial.json").write_text(json.dumps(state))
    for seed, score in enumerate(scores):
        worse = 0.9 if objective == "val_accuracy" else 1.2
        history = [{"epoch": epoch, objective: score * worse ** (epochs - epoch)} for epoch in range(1, epochs + 1)]
        test = tests[seed] if tests else score - 0.05 + 0.01 * seed
        done = Result(
            result.SUCCESS, "digits", 0.1, objective, score, epochs, {"accuracy": test, "loss": 0.5}, 1.0, history
        )
        result.write(directory / "trials" / f"{number:04}" / f"seed-{seed}", done)


def page(directory: pathlib.Path) -> str:
    """Makes the report and returns its text."""
    path = report.report(directory)
    assert path == directory / "report" / "README.md"
    text = path.read_text()
    assert re.findall("^## (.*)$", text, re.MULTILINE) == HEADINGS
    assert not re.search(r"\b(nan|inf|None)\b", text.replace("None.", ""))
    for picture in re.findall(r"!\[.*\]\((.*)\)", text):
        assert (path.parent / picture).is_file()
    return text


def section(text: str, heading: str) -> str:
    """Returns a section of the page."""
    return text.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def table(text: str, heading: str, number: int = 0) -> list[dict[str, str]]:
    """Returns the rows of one of a section's tables by the names of the columns."""
    tables = [block for block in section(text, heading).strip().split("\n\n") if block.startswith("|")]
    if not tables:
        return []
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in tables[number].splitlines()]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def spread(scores) -> str:
    """Returns mean and interval, computed by SciPy's own routine."""
    mean = np.mean(scores)
    if len(scores) < 2:
        return f"{mean:.4f}"
    if np.ptp(scores) == 0:
        return f"{mean:.4f} ± 0.0000"
    low, high = stats.t.interval(0.95, len(scores) - 1, loc=mean, scale=np.std(scores, ddof=1) / len(scores) ** 0.5)
    return f"{mean:.4f} ± {(high - low) / 2:.4f}"
