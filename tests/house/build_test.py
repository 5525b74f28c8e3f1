"""Holds the house together: the wings' order, and BUILD files that say what the wings import.

A wing is a folder of gnexp/, or a module that stands there by itself. It only imports wings that
stand before it in ORDER.
"""

import ast
import functools
import importlib.metadata
import pathlib
import re
import sys
from collections.abc import Iterator, Sequence

import pytest

pytestmark = pytest.mark.any_backend

ROOT = pathlib.Path(__file__).parents[2]
ORDER = (
    "group_normalization",  # the layer: Keras, and nothing of ours
    "errors",  # how a command can fail
    "functions",  # functions by name, the user's and ours
    "config",  # what a config may hold
    "space",  # what a sweep may search
    "terminal",  # the command line, and values as text
    "workdir",  # where things lie
    "events",  # TensorBoard's files
    "norms",  # what is compared
    "models",  # networks
    "data",  # datasets
    "tasks",  # what is learned
    "training",  # one training
    "analysis",  # what came of it
    "sweeps",  # many trainings
    "reports",  # pages
    "board",  # TensorBoard's tab, and its page as a file
    "report",
    "train",
    "api",  # the same from Python
    "launch",  # sends the trainer's command to a cluster
    "__main__",
)
WITHOUT_KERAS = ("errors", "functions", "config", "space", "terminal", "workdir", "events", "analysis")
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 300, 60


def sources(folder: pathlib.Path, wing: str) -> list[pathlib.Path]:
    """Returns the Python files of a wing."""
    module = folder / f"{wing}.py"
    return [module] if module.exists() else sorted((folder / wing).rglob("*.py"))


def wings(folder: pathlib.Path) -> set[str]:
    """Returns the wings that a folder holds."""
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    return modules | {path.parent.relative_to(folder).parts[0] for path in folder.glob("*/**/*.py")}


def imported_names(source: pathlib.Path) -> Iterator[str]:
    """Yields what a file imports, wherever in it: `a.b` for `import a.b` and for `from a import b`."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def upward_imports(folder: pathlib.Path, order: Sequence[str]) -> list[str]:
    """Returns, in words, each import of a wing that does not stand before the one that imports it."""
    wrong = []
    for place, wing in enumerate(order):
        for source in sources(folder, wing):
            for name in imported_names(source):
                top, _, rest = name.partition(".")
                other = rest.partition(".")[0]
                if top == folder.name and other in order and other not in order[: place + 1]:
                    wrong.append(f"{source.relative_to(folder.parent)} imports {name}")
    return wrong


def test_a_wing_imports_only_what_stands_before_it():
    assert wings(ROOT / "gnexp") == set(ORDER), "a wing is missing in ORDER, or gone"
    assert not upward_imports(ROOT / "gnexp", ORDER)


def test_an_import_that_runs_up_is_found(tmp_path):
    for path, text in {
        "gnexp/config/schema.py": "def late():\n    from gnexp.training import loop\n",
        "gnexp/training/loop.py": "import gnexp.config.schema\nfrom gnexp.errors import UserError\n",
        "gnexp/errors.py": "from gnexp import training\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert upward_imports(tmp_path / "gnexp", ("errors", "config", "training")) == [
        "gnexp/errors.py imports gnexp.training",
        "gnexp/config/schema.py imports gnexp.training.loop",
    ]


@pytest.mark.parametrize("wing", WITHOUT_KERAS)
def test_a_wing_that_answers_at_once_imports_no_keras(wing):
    for source in sources(ROOT / "gnexp", wing):
        tops = {name.partition(".")[0] for name in imported_names(source)}
        assert not tops & {"keras", "tensorflow", "jax", "keras_tuner"}, source


def test_no_file_and_no_function_is_too_long():
    long = []
    for source in (ROOT / "gnexp").rglob("*.py"):
        text = source.read_text()
        if (lines := text.count("\n")) > MOST_LINES:
            long.append(f"{source.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno + 1 > MOST_LINES_OF_A_FUNCTION:
                long.append(f"{source.relative_to(ROOT)}: {node.name} has {node.end_lineno - node.lineno + 1} lines")
    assert not long


# BUILD files


def targets(package: str) -> dict[str, dict]:
    """Returns the Python targets of a package's BUILD file: their attributes by name."""
    found: dict[str, dict] = {}

    def rule(name: str, **attributes) -> None:
        found[name.removesuffix("_tests")] = attributes

    def glob(patterns: Sequence[str]) -> list[str]:
        paths = (path for pattern in patterns for path in (ROOT / package).glob(pattern))
        return sorted(str(path.relative_to(ROOT / package)) for path in paths)

    def ignored(*_, **__) -> None:
        pass

    rules = dict.fromkeys(("py_library", "py_binary", "pytest_test"), rule)
    others = dict.fromkeys(("load", "package", "filegroup", "exports_files"), ignored)
    # Starlark is nearly Python; what these files use of it is.
    exec((ROOT / package / "BUILD").read_text(), {**rules, **others, "glob": glob})
    return {name: attributes for name, attributes in found.items() if name != "keras_backend"}


@functools.cache
def distributions() -> dict[str, list[str]]:
    """Returns the distributions that bring each importable name, from what is installed."""
    return importlib.metadata.packages_distributions()


@functools.cache
def locked() -> set[str]:
    """Returns the names of the locked distributions as rules_python spells them."""
    pins = re.findall(r"^([\w.-]+)==", (ROOT / "requirements-test.lock").read_text(), re.MULTILINE)
    return {normalized(name) for name in pins}


def normalized(distribution: str) -> str:
    """Returns a distribution's name as rules_python spells it in a label."""
    return re.sub(r"[-_.]+", "_", distribution).lower()


def package_label(top: str) -> str:
    """Returns the label of the distribution that brings an importable name."""
    known = {normalized(distribution) for distribution in distributions().get(top, ())} & locked()
    assert len(known) == 1, f"which distribution of requirements-test.lock brings {top!r}? {sorted(known)}"
    return f"@pypi//{known.pop()}"


def label(package: str, name: str) -> str:
    """Returns the label of the target that holds what `name` stands for, as the BUILD file of `package` has it."""
    top, _, rest = name.partition(".")
    target = rest.partition(".")[0] if top in ("gnexp", "tests") else top
    if top == "gnexp" and target not in wings(ROOT / "gnexp"):
        target = "gnexp"
    return f":{target}" if top == package else f"//{top}" if target == top else f"//{top}:{target}"


def called_for(package: str, files: Sequence[pathlib.Path], target: str) -> list[str]:
    """Returns the deps of a target with these files: what they import, the standard library and itself left out."""
    found = set()
    for name in (name for file in files for name in imported_names(file)):
        top = name.partition(".")[0]
        if (ROOT / top).is_dir():
            found.add(label(package, name))
        elif top not in sys.stdlib_module_names:
            found.add(package_label(top))
    found |= {":gnexp"} if package == "gnexp" else {":support"} if package == "tests" else set()
    return sorted(found - {f":{target}"}, key=lambda text: (":/@".index(text[0]), text))


@pytest.mark.parametrize("package", ["gnexp", "configs", "docs", "launch", "benchmarks", "tests"])
def test_each_targets_deps_are_what_its_files_import(package):
    folder, wrong, stated = ROOT / package, [], targets(package)
    called = wings(folder) | {"gnexp"} if package == "gnexp" else wings(folder) - {"run_pytest", "conftest"}
    assert stated.keys() == (called if package in ("gnexp", "tests") else {package})
    for name, attributes in stated.items():
        if name == package:
            files = [folder / "__init__.py"] if package == "gnexp" else sorted(folder.glob("*.py"))
        else:
            files = sources(folder, name) + (
                [folder / "conftest.py"] if (package, name) == ("tests", "support") else []
            )
        deps = called_for(package, files, name)
        if package != "tests" or name == "support":
            assert attributes["srcs"] == sorted(str(file.relative_to(folder)) for file in files), name
        if attributes.get("deps", []) != deps:
            wrong.append(f"{name}:\n    deps = [\n" + "".join(f'        "{dep}",\n' for dep in deps) + "    ],")
    assert not wrong, f"{package}/BUILD should read\n" + "\n".join(wrong)


def test_a_wing_whose_tests_start_the_command_has_it_as_data():
    starting = {
        wing
        for wing in wings(ROOT / "tests") - {"house"}
        if any(re.search(r"gnexp_train\b|gnexp\.train\b", path.read_text()) for path in sources(ROOT / "tests", wing))
    }
    stated = {name for name, target in targets("tests").items() if "//gnexp:train" in target.get("data", [])}
    assert starting - {"conftest", "run_pytest"} == stated
