"""The pages say what is so: their links lead somewhere, their commands are ones, and their Python runs."""

import re
import sys

import pytest
from absl import app, flags

from docs import configs
from gnexp import report, train
from gnexp.config.paths import is_of_space
from gnexp.config.schema import is_key
from gnexp.config.upgrade import renamed
from gnexp.config.validation import validate
from gnexp.launch import kuberay, slurm
from gnexp.space.parse import parse_space
from tests.support.pages_of_docs import PAGES, ROOT, anchors, blocks, commands, inline_commands, links

pytestmark = pytest.mark.any_backend

OURS = {"gnexp.train": train, "gnexp.report": report, "gnexp.launch.slurm": slurm, "gnexp.launch.kuberay": kuberay}
OTHERS = {".", "chmod", "cp", "kubectl", "pip", "python3", "ruff", "sbatch"}
# What the page has the reader write, or a sweep.
OF_THE_READER = ("configs/mine.py", "mine.py", "runs/sweep/best.py", "C")
MAKEFILE = (ROOT / "Makefile").read_text()
MOST_LINES = {"README.md": 120, **{page: 150 for page in PAGES if page.startswith("docs/")}}


def test_the_table_of_all_keys_is_what_the_schema_says():
    page = configs.PAGE.read_text()
    assert configs.written(page) == page, "`make docs` writes it"


@pytest.mark.parametrize("page", PAGES)
def test_a_link_leads_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize(("page", "most"), MOST_LINES.items())
def test_a_page_is_short(page, most):
    assert (ROOT / page).read_text().count("\n") <= most


def test_no_line_of_the_readme_is_too_long():
    assert not [line for line in (ROOT / "README.md").read_text().splitlines() if len(line) > 120]


@pytest.mark.parametrize("page", PAGES)
def test_a_flag_names_a_key(page):
    for key in re.findall(r"--config\.([a-z][\w.]*\w)", (ROOT / page).read_text()):
        assert is_key(renamed(key)) or is_of_space(key)


# Commands


def read_flags(module: str, arguments: list[str], monkeypatch, capsys) -> None:
    """Has one of the commands read its flags and refuse what is wrong; it does nothing more."""
    known = set(flags.FLAGS)
    with monkeypatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(sys, "argv", [module, *arguments])
        patch.setattr(sys, "path", list(sys.path))  # Each config adds its folder.
        patch.setattr(app, "run", lambda _, flags_parser: flags_parser(sys.argv))
        try:
            OURS[module].main()
        except SystemExit:
            pytest.fail(f"{module} {arguments}: {capsys.readouterr().err}")
        finally:
            for name in set(flags.FLAGS) - known:
                delattr(flags.FLAGS, name)
            flags.FLAGS.unparse_flags()


def check_make(target: str, *arguments: str) -> None:
    """Finds a target and the variables in the Makefile, and the config."""
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), f"there is no make {target}"
    for name, value in (argument.split("=", 1) for argument in arguments):
        assert re.search(rf"^{name} \?=", MAKEFILE, re.MULTILINE), f"the Makefile has no {name}"
        assert name != "CONFIG" or (ROOT / value.partition(":")[0]).is_file()


def check(words: list[str], monkeypatch, capsys) -> None:
    """Fails unless a command is one of the project's that could be run so, or another project's."""
    match words:
        case ["python", "-m", module, *arguments] if module in OURS:
            if arguments and not any(f"--config={path}" in arguments for path in OF_THE_READER):
                read_flags(module, arguments, monkeypatch, capsys)
        case ["python", "-m", "gnexp"] | ["python", "-m", "gnexp", "--version"]:
            pass
        case ["python", "-m", "pytest", *paths] if paths:
            missing = [path for path in paths if not path.startswith("-") and not (ROOT / path).exists()]
            assert not missing, f"there is no {missing}"
        case ["python", "-m", module]:
            source = (ROOT / module.replace(".", "/")).with_suffix(".py")
            assert source.is_file(), f"there is no {module}"
            assert "__main__" in source.read_text(), f"{module} is no command"
        case ["make", target, *arguments]:
            check_make(target, *arguments)
        case ["tensorboard", logdir]:
            assert logdir.startswith("--logdir="), f"not known: {words}"
        case _:
            assert words[0] in OTHERS, f"not known: {words}"


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections calls it
@pytest.mark.parametrize("page", PAGES)
def test_a_command_is_one(page, monkeypatch, capsys):
    for script in [*blocks(page, "sh"), *inline_commands(page)]:
        for words in commands(script):
            check(words, monkeypatch, capsys)


def test_commands_are_what_a_shell_would_run():
    script = """
    A=1 python -m gnexp.train --config=a \\
      --config.b='c d'  # not this
    for x in 1 2; do for y in "$x":3; do make ${y%:*} | sbatch $(kubectl get); done; done
    """
    found = commands(script)
    assert found[0] == ["python", "-m", "gnexp.train", "--config=a", "--config.b=c d"]
    assert sorted(found[1:]) == sorted(
        [*([["kubectl", "get"], ["sbatch"]] * 2), *(["make", target] for target in ("1", "2"))]
    )


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("python -m gnexp.train --config=configs/none.py", "no such file"),
        ("python -m gnexp.train --config=configs/fmnist.py --config.model.group=4", "no such key"),
        ("python -m gnexp.train --config=configs/fmnist.py --config.model.groups=5", "does not divide"),
        ("python -m gnexp.train --config=configs/fmnist.py --dryrun", "dryrun"),
        ("python -m gnexp.launch.slurm --config=configs/fmnist.py --workdir=a", "--cpus_per_node is missing"),
        ("python -m gnexp.report --workdri=runs", "workdri"),
        ("python -m gnexp.sweep", "there is no gnexp.sweep"),
        ("make tests", "no make tests"),
        ("python -m benchmarks.measure", "is no command"),
        ("make train OPTIONS=1", "no OPTIONS"),
        ("python -m pytest tests/build_test.py", "there is no .*build_test"),
        ("tensorboard runs", "not known"),
        ("gnexp train", "not known"),
    ],
)
def test_a_command_that_is_none_is_found(command, why, monkeypatch, capsys):
    with pytest.raises((AssertionError, pytest.fail.Exception), match=why):
        check(commands(command)[0], monkeypatch, capsys)


# Python


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_the_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), namespace)
        made = namespace.pop("get_config", None)
        if config := made() if made else namespace.pop("config", None):
            validate(config)
            assert "sweep" not in config or parse_space(config)
