"""What the terminal shows: bars only on a terminal, correct lines, and none of C++'s noise."""

import contextlib
import dataclasses
import io
import pathlib
import re
import shlex
import time

import pytest

from gnexp.training import console
from gnexp.training.console import TerminalConsole
from gnexp.workdir.result import SUCCESS, Result

pytestmark = pytest.mark.any_backend

FIGURES = {
    "epoch": 3,
    "loss": 0.51234,
    "accuracy": 0.81236,
    "val_loss": 0.412345,
    "val_accuracy": 0.85,
    "learning_rate": 0.0002,
    "seconds": 12.34,
}


class Terminal(io.StringIO):
    """A terminal that keeps what was written to it."""

    def isatty(self) -> bool:
        """Returns True, as a terminal does."""
        return True

    def screen(self) -> str:
        """Returns the last line as a reader would see it: a carriage return goes back to its start."""
        line = ""
        for part in self.getvalue().rpartition("\n")[2].split("\r"):
            line = part + line[len(part) :]
        return line.rstrip()


# Progress


def test_a_terminal_shows_a_bar_with_the_time_left_and_then_only_the_epochs_line():
    shown = TerminalConsole(epochs=13, objective="val_accuracy")
    with contextlib.redirect_stdout(Terminal()) as terminal:
        for done in (1, 100, 200):
            time.sleep(0.15)  # longer than tqdm waits from one look to the next
            shown.steps(3, done, 400)
        assert "epoch 3/13" in terminal.screen()
        assert "200/400" in terminal.screen()
        assert re.search(r"\d\d:\d\d<\d\d:\d\d", terminal.screen()), "there is no time left"
        shown.epoch(FIGURES, best=True)
        assert terminal.screen() == ""
        line = terminal.getvalue().split("\r")[-1]
        assert line.startswith("epoch  3/13 ")
        assert line.count("\n") == 1
        shown.steps(4, 1, 400)
        assert "epoch 4/13" in terminal.screen(), "the next epoch has no bar of its own"
        shown.clear()


def test_clearing_leaves_nothing_of_the_bar():
    shown = TerminalConsole(epochs=2, objective="val_accuracy")
    with contextlib.redirect_stdout(Terminal()) as terminal:
        shown.clear()
        shown.steps(1, 7, 9)
        assert terminal.screen()
        shown.clear()
        shown.clear()
        assert terminal.screen() == ""


def test_without_a_terminal_there_are_only_lines(capsys):
    shown = TerminalConsole(epochs=3, objective="val_loss")
    for done in range(1, 5):
        shown.steps(3, done, 4)
    shown.epoch(FIGURES, best=False)
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        "epoch 3/3   loss 0.5123   accuracy 0.8124   val_loss 0.4123   val_accuracy 0.8500"
        "   learning rate 0.0002   12.3 s"
    ]


def test_small_figures_are_not_shown_as_zero(capsys, result):
    TerminalConsole(epochs=3, objective="val_loss").epoch({**FIGURES, "loss": 3.14159e-6, "val_accuracy": 1e-6}, False)
    assert "   loss 3.14e-06   accuracy 0.8124   val_loss 0.4123   val_accuracy 0.0000   " in capsys.readouterr().out
    assert "loss 2.72e-09   mae 0.0000" in summary(
        capsys, dataclasses.replace(result, test={"loss": 2.71828e-9, "mae": 0.0}), "runs/first"
    )


@pytest.mark.parametrize("objective", ["val_loss", "val_accuracy"])
def test_the_best_epoch_is_marked_with_the_objective(capsys, objective):
    shown = TerminalConsole(epochs=3, objective=objective)
    for best in (True, False):
        shown.epoch(FIGURES, best=best)
    best, other = capsys.readouterr().out.splitlines()
    assert best.endswith(f"best {objective}")
    assert best.startswith(other)
    assert "best" not in other


def test_another_dataset_than_the_one_asked_for_is_said_loudly_on_stderr(capsys):
    console.fell_back("fashion_mnist", "digits", "no network")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("*** THIS TRAINING USES digits, NOT fashion_mnist ***") == 1
    assert "\nno network\n" in err


# The summary


@pytest.fixture
def result() -> Result:
    """Returns the result of three epochs, of which the second was the best."""
    return Result(
        status=SUCCESS,
        dataset="digits",
        validation=0.1,
        objective="val_accuracy",
        best_value=0.9456,
        best_epoch=2,
        test={"accuracy": 0.9123, "loss": 0.2345},
        seconds=61.26,
        history=[
            {**FIGURES, "epoch": epoch, "val_accuracy": accuracy, "val_loss": loss}
            for epoch, accuracy, loss in ((1, 0.8, 0.5), (2, 0.9456, 0.3), (3, 0.9444, 0.2))
        ],
    )


def summary(capsys, result: Result, directory: str) -> str:
    console.summary(result, pathlib.Path(directory))
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_summary_gives_best_and_final_and_test_figures(capsys, result):
    lines = {line.partition(":")[0]: line for line in summary(capsys, result, "runs/first").splitlines()}
    assert re.search(r"val_accuracy 0\.9456 +val_loss 0\.3000 .*epoch 2 of 3", lines["best"])
    assert re.search(r"val_accuracy 0\.9444 +val_loss 0\.2000 .*epoch 3 of 3", lines["final"])
    assert re.search(r"accuracy 0\.9123 +loss 0\.2345", lines["test"])
    assert "61.3 s on digits" in lines["time"]


@pytest.mark.parametrize(("validation", "said"), [(0.1, False), (5000, False), ("test", True)])
def test_the_summary_says_when_validation_was_the_test_set(capsys, result, validation, said):
    out = summary(capsys, dataclasses.replace(result, validation=validation), "runs/first")
    assert ("chosen on the test set" in out) == said


@pytest.mark.parametrize(
    ("directory", "logdir"),
    [
        ("runs/first", "runs"),
        ("/data/runs/first", "/data/runs"),
        ("first", "."),
        ("my runs/first", "my runs"),
    ],
)
def test_the_summary_says_where_it_lies_and_gives_a_tensorboard_command_that_works(capsys, result, directory, logdir):
    lines = summary(capsys, result, directory).splitlines()
    assert any(line.endswith(f" {directory}") for line in lines)
    assert shlex.split(lines[-1]) == ["tensorboard", f"--logdir={logdir}"]
