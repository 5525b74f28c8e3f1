"""Keeps the BUILD files true: each target's deps are what its source imports, and gnexp's imports only point down."""

import ast
import functools
import importlib.metadata
import pathlib
import re
import sys
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[1]
RULES = ("py_library", "py_binary", "pytest_test")
OTHERS = ("load", "package", "filegroup", "exports_files")


def targets(package: str) -> dict[str, dict]:
    """Returns the Python targets with sources of a package's BUILD file: their attributes by name, in its order."""
    found = {}

    def rule(name: str, **attributes) -> None:
        found[name] = attributes

    def test_rule(name: str, **attributes) -> None:
        found[name] = {"srcs": [f"{name}.py"], **attributes}

    names = {**dict.fromkeys(RULES, rule), "pytest_test": test_rule, "glob": lambda patterns: []}
    names |= dict.fromkeys(OTHERS, lambda *args, **attributes: None)
    # Starlark is nearly Python; what these files use of it is.
    exec((ROOT / package / "BUILD").read_text(), names)
    return {name: attributes for name, attributes in found.items() if attributes.get("srcs")}


def label(text: str, package: str) -> str:
    """Returns a label in full: //package:name or @pypi//name."""
    if text.startswith(":"):
        return f"//{package}{text}"
    return text if ":" in text or text.startswith("@") else f"{text}:{pathlib.PurePath(text).name}"


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


def imported_names(source: pathlib.Path) -> Iterator[str]:
    """Yields what a file imports, wherever in it: `a.b` for `import a.b` and for `from a import b`."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_label(name: str) -> str:
    """Returns the label of the module of ours that `name`, a module or a thing in one, stands for."""
    path = ROOT.joinpath(*name.split("."))
    module = next((path for path in (path, path.parent) if path.with_suffix(".py").exists()), None)
    assert module, f"{name} is not a module of ours, nor a name in one"
    return f"//{module.parent.relative_to(ROOT)}:{module.name}"


def package_label(top: str) -> str:
    """Returns the label of the distribution that brings an importable name."""
    known = {normalized(distribution) for distribution in distributions().get(top, ())} & locked()
    assert len(known) == 1, f"which distribution of requirements-test.lock brings {top!r}? {sorted(known)}"
    return f"@pypi//{known.pop()}"


def imports(source: pathlib.Path) -> set[str]:
    """Returns the labels of what a file imports, the standard library left out."""
    found = set()
    for name in imported_names(source):
        top = name.partition(".")[0]
        if (ROOT / top).is_dir():
            found.add(module_label(name))
        elif top not in sys.stdlib_module_names:
            found.add(package_label(top))
    return found


def modules(package: str) -> dict[str, dict]:
    """Returns the targets that a package's files call for."""
    folder = ROOT / package
    init = ["__init__.py"] if (folder / "__init__.py").exists() else []
    return {
        path.stem: {"srcs": [*init, path.name], "deps": sorted(imports(path))}
        for path in sorted(folder.glob("*.py"))
        if path.name not in ("__init__.py", "run_pytest.py")
    }


def written(package: str, name: str, labels: list[str]) -> str:
    """Returns the name and deps of a target as lines of a BUILD file, in buildifier's order."""
    short = [text.removeprefix(f"//{package}") if text.startswith(f"//{package}:") else text for text in labels]
    ordered = sorted(short, key=lambda text: (":/@".index(text[0]), text))
    return f'    name = "{name}",\n    deps = [\n' + "".join(f'        "{text}",\n' for text in ordered) + "    ],\n"


@pytest.mark.parametrize("package", ["gnexp", "gnexp/executors", "configs", "launch", "benchmarks", "tests"])
def test_targets_are_the_modules_and_deps_their_imports(package):
    stated = {
        name: {"srcs": target["srcs"], "deps": sorted(label(dep, package) for dep in target.get("deps", []))}
        for name, target in targets(package).items()
    }
    called_for = modules(package)
    wrong = [name for name in called_for if stated.get(name) != called_for[name]]
    right = "".join(written(package, name, called_for[name]["deps"]) for name in wrong)
    assert not wrong, f"{package}/BUILD: these targets are missing, or should read\n{right}"
    assert stated.keys() == called_for.keys(), f"{package}/BUILD: targets of modules that are gone"


def test_imports_only_point_down():
    """The targets of gnexp/BUILD stand in the order of the design, from the ground up."""
    order = list(targets("gnexp"))
    imported = {name: module["deps"] for name, module in modules("gnexp").items()}
    above = {name: {f"//gnexp:{other}" for other in order[: order.index(name)]} for name in order}
    upwards = {
        name: wrong
        for name in order
        if (wrong := [dep for dep in imported[name] if dep.startswith("//gnexp:") and dep not in above[name]])
    }
    assert not upwards, "gnexp/BUILD: these modules import what stands further up in the house, below them in the file"


def test_a_test_that_starts_the_command_has_it_as_data():
    starting = {
        path.stem
        for path in (ROOT / "tests").glob("*_test.py")
        if path.name != "build_test.py" and re.search(r"\bgnexp[._]train\b", path.read_text())
    }
    assert starting == {name for name, target in targets("tests").items() if "//gnexp:train" in target.get("data", [])}
