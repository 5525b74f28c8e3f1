"""What every command says of itself."""

import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.any_backend

ROOT = pathlib.Path(__file__).parents[2]
COMMANDS = {
    "gnexp.train": ("--config", "--workdir", "--dry_run", "--ray_address"),
    "gnexp.report": ("--workdir", "--out"),
    "gnexp.launch.slurm": ("--config", "--workdir", "--submit", "--nodes"),
    "gnexp.launch.kuberay": ("--config", "--workdir", "--submit", "--image"),
}


def said(unheavy: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs `python -m` where nothing heavy can be imported."""
    environment = {**os.environ, "PYTHONPATH": unheavy}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_two_examples_and_every_flag(unheavy, command):
    done = said(unheavy, command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(f"python -m {command} ") >= 2
    shown = re.findall(r"^  (?:--\[no\]|--)(\w+):", done.stdout, re.MULTILINE)
    assert {flag.removeprefix("--") for flag in COMMANDS[command]} | {"version"} <= set(shown)


def test_the_report_takes_ctrl_c_before_it_imports_what_takes_seconds():
    code = "import sys, gnexp.report; print(*{'matplotlib', 'scipy', 'pandas', 'tensorboard'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.parametrize("command", ["gnexp", "gnexp.train", "gnexp.launch.slurm"])
def test_the_version_is_that_of_the_package(unheavy, command):
    done = said(unheavy, command, "--version")
    assert (done.returncode, done.stdout) == (0, f"gnexp {importlib.metadata.version('gnexp')}\n")


def test_the_package_lists_its_commands_and_refuses_others(unheavy):
    listed = said(unheavy, "gnexp")
    assert listed.returncode == 0 and all(f"python -m {command} " in listed.stdout for command in COMMANDS)
    refused = said(unheavy, "gnexp", "train")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "'train' is not a command" in refused.stderr
