"""Trainings side by side: groups of seeds and their figures against NumPy's and SciPy's, and the page in words."""

import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from configs import original
from gnexp import report
from gnexp.analysis import trainings
from gnexp.analysis.intervals import prediction95
from gnexp.config.stored import record, to_json
from gnexp.errors import UserError
from gnexp.reports import archive
from gnexp.workdir import checkpoint, result
from gnexp.workdir.files import read_json
from gnexp.workdir.result import Result
from tests.support.pages import section, spread, table

pytestmark = [pytest.mark.any_backend, pytest.mark.usefixtures("undrawn")]

ROOT = pathlib.Path(__file__).parents[2]
HOST, FOLDER = "some-host", "/home/somebody/gnexp"


def epochs(count: int, start: float) -> list[dict]:
    """Returns the figures of some epochs; the validation accuracy is best in the second to last."""
    return [
        {
            "epoch": epoch,
            "loss": 1 / epoch,
            "accuracy": start - 0.1 + 0.01 * epoch,
            "val_loss": 0.5 / epoch,
            "val_accuracy": start + 0.01 * epoch - 0.03 * (epoch == count),
            "learning_rate": 1e-3,
            "seconds": 10.0 + epoch,
        }
        for epoch in range(1, count + 1)
    ]


def training(directory: pathlib.Path, name: str, history: list[dict], state="finished", run=None, **changes) -> None:
    """Makes a training's workdir: one of configs/original.py, with changes by dotted path."""
    folder = directory / name
    folder.mkdir(parents=True)
    config = original.get_config(run or name)
    config.update_from_flattened_dict(changes)
    config.data.directory = f"{FOLDER}/data"
    (folder / "config.json").write_text(json.dumps(to_json(record(config, "fashion_mnist"))))
    command = [f"{FOLDER}/.venv/bin/python", "-m", "gnexp.train", f"--config={FOLDER}/original.py:{name}"]
    provenance = {"started": "2026-01-01", "command": [*command, "--workdir=runs/x"], "host": HOST, "cpus": 2}
    (folder / "provenance.json").write_text(json.dumps([provenance]))
    if state == "finished":
        best = max(history, key=lambda epoch: epoch["val_accuracy"])
        score = best["val_accuracy"]
        test = {"accuracy": score, "loss": best["val_loss"]}
        done = ("fashion_mnist", "test", "val_accuracy", score, best["epoch"], test, 100.0, history)
        result.write(folder, Result(result.SUCCESS, *done))
    elif history:
        unfinished = checkpoint.Checkpoint({}, {"history": history}, {"pending": {}}, None)
        checkpoint.save(folder / "checkpoints" / "state.npz", unfinished)
    if state == "failed":
        result.write_failure(folder, RuntimeError("no room"))


@pytest.fixture
def compared(tmp_path) -> pathlib.Path:
    """Gives a folder of seven trainings, of which three differ by their seed, and a reference of three runs."""
    directory = tmp_path / "runs"
    training(directory, "gn8_bs1", epochs(5, 0.8), epochs=5)
    training(directory, "gn8_bs1-seed1", epochs(3, 0.82), run="gn8_bs1", seed=1, epochs=3)
    training(directory, "gn8_bs1-seed2", epochs(3, 0.81), run="gn8_bs1", seed=2, epochs=3)
    training(directory, "bn_bs1", epochs(2, 0.7), state="unfinished")
    training(directory, "instance_bs1", [], state="unfinished")
    training(directory, "gn8_amsgrad_bs1", epochs(1, 0.5), state="failed")
    training(directory, "gn8_amsgrad_bs128", epochs(4, 0.85), epochs=4)
    lines = ["# Somebody's notebook.", "run,epoch,seconds,loss,accuracy,val_loss,val_accuracy"]
    for run, start in (("gn8_bs1", 0.805), ("gn8_amsgrad_bs128", 0.5), ("in_bs1", 0.75)):
        lines += [",".join(f"{x:.6g}" if x != run else x for x in (run, *figures)) for figures in rows(start)]
    (directory / "reference.csv").write_text("\n".join(lines) + "\n")
    return directory


def rows(start: float) -> list[tuple]:
    """Returns what the reference says of six epochs."""
    columns = ("epoch", "seconds", "loss", "accuracy", "val_loss", "val_accuracy")
    return [tuple(epoch[column] for column in columns) for epoch in epochs(6, start)]


def test_seeds_are_one_experiment_and_are_compared_where_all_have_got(compared):
    text = report.report(compared).read_text()
    found = {(row["training"], row["epochs"]): row for row in table(text, "Figures")}
    seeds = [epochs(5, 0.8), epochs(3, 0.82), epochs(3, 0.81)]
    accuracies = np.array([[epoch["val_accuracy"] for epoch in history[:3]] for history in seeds])
    row = found["gn8_bs1", "3"]
    assert row["seeds"] == "0, 1, 2"
    assert row["last val_accuracy"] == spread(accuracies[:, -1])
    assert row["best val_accuracy"] == spread(accuracies.max(axis=1))
    assert row["test accuracy"] == "", "seed 0 was trained for longer"
    assert row["seconds per epoch"] == "12 (11 to 13)"
    assert [row[f"reference: {name}"] for name in ("epochs", "last", "best")] == ["3", "0.8350", "0.8350"]
    row = found["gn8_bs1", "5"]
    assert (row["seeds"], row["last val_accuracy"], row["best val_accuracy"]) == ("0", "0.8200", "0.8400")
    assert (row["test accuracy"], row["reference: last"]) == ("0.8400", "0.8550")
    assert found["bn_bs1", "2"]["reference: epochs"] == ""
    assert found["in_bs1", ""]["reference: last"] == "0.7800"
    assert set(found) == {
        ("bn_bs1", "2"),
        ("gn8_amsgrad_bs1", "1"),
        ("gn8_amsgrad_bs128", "4"),
        ("gn8_bs1", "3"),
        ("gn8_bs1", "5"),
        ("in_bs1", ""),
    }


def test_the_reference_is_told_from_the_noise_of_seeds(compared):
    best = [0.83, 0.84, 0.83]
    within = stats.t.ppf(0.975, 2) * np.std(best, ddof=1) * np.sqrt(1 + 1 / 3)
    said = section(report.report(compared).read_text(), "Figures")
    assert "gn8_bs1, best of 3 epochs: our mean minus the reference is -0.0017." in said
    assert f"within {within:.4f} of our mean (95%, Student's t): inside the noise." in said
    assert prediction95(best) == pytest.approx(within)


def test_seeds_without_a_spread_judge_no_reference(compared):
    training(compared, "gn8_amsgrad_bs128-seed1", epochs(4, 0.85), run="gn8_amsgrad_bs128", seed=1, epochs=4)
    said = section(report.report(compared).read_text(), "Figures")
    assert "minus the reference is +0.3400. Our seeds have no spread to judge it by." in said


def test_what_is_not_finished_is_said(compared):
    text = report.report(compared).read_text()
    assert "7 trainings on fashion_mnist. **Not finished: bn_bs1, gn8_amsgrad_bs1, instance_bs1.**" in text
    assert "it chose the best epoch, and with the schedule `plateau` it set the learning rate" in text
    assert "The reference: Somebody's notebook." in text
    states = {row["training"]: (row["epochs"], row["state"]) for row in table(text, "What was trained")}
    assert states["gn8_bs1-seed1"] == ("3 of 3", "finished")
    assert states["bn_bs1"] == ("2 of 13", "not finished")
    assert states["instance_bs1"] == ("0 of 13", "not finished")
    assert states["gn8_amsgrad_bs1"] == ("1 of 13", "`RuntimeError: no room`")
    assert set(table(text, "What was trained")[0]) == {
        "training",
        "data.batch_size",
        "model.epsilon",
        "model.norm",
        "optimizer.name",
        "seed",
        "epochs",
        "state",
    }


def test_the_pictures_have_all_and_those_of_one_batch_size(compared, figures):
    text = report.report(compared).read_text()
    assert re.findall(r"\((.*\.png)\)", text) == ["curves.png", "curves-batch-1.png"]
    every, ones = figures
    assert [axes.get_title() for axes in every.axes][2:] == ["Validation loss", "Validation accuracy"]
    lines = {line.get_label(): line for line in every.axes[3].lines}
    longest = [epoch["val_accuracy"] for epoch in epochs(5, 0.8)]
    np.testing.assert_allclose(lines["gn8_bs1"].get_ydata(), longest)
    thin = [len(line.get_xdata()) for line in every.axes[3].lines if line.get_linewidth() < 1]
    assert sorted(thin) == [3, 3, 5]
    dashed = {label for label, line in lines.items() if line.get_linestyle() == "--"}
    assert dashed == {f"{run}, reference" for run in ("gn8_bs1", "gn8_amsgrad_bs128", "in_bs1")}
    assert lines["gn8_bs1, reference"].get_color() == lines["gn8_bs1"].get_color()
    names = [text.get_text() for text in ones.legends[0].get_texts()]
    assert names == ["bn_bs1", "gn8_amsgrad_bs1", "gn8_bs1", "ours", "one seed of several", "reference"]


def test_equally_long_seeds_are_drawn_as_their_mean(compared, figures):
    training(compared, "gn8_bs1-seed3", epochs(5, 0.9), run="gn8_bs1", seed=3, epochs=5)
    report.report(compared)
    (line,) = (line for line in figures[0].axes[3].lines if line.get_label() == "gn8_bs1")
    seeds = [[epoch["val_accuracy"] for epoch in epochs(5, start)] for start in (0.8, 0.9)]
    np.testing.assert_allclose(line.get_ydata(), np.mean(seeds, axis=0))


def test_an_unfinished_training_that_is_ahead_has_its_row(compared):
    (compared / "gn8_bs1/result.json").unlink()
    checkpoint.save(
        compared / "gn8_bs1/checkpoints/state.npz",
        checkpoint.Checkpoint({}, {"history": epochs(4, 0.8)}, {"pending": {}}, None),
    )
    rows = [row for row in table(report.report(compared).read_text(), "Figures") if row["training"] == "gn8_bs1"]
    assert [(row["epochs"], row["seeds"]) for row in rows] == [("4", "0"), ("3", "0, 1, 2")]


def test_a_value_far_off_does_not_flatten_the_others(tmp_path, figures):
    history = epochs(20, 0.5)
    history[7]["val_loss"] = 1e4
    training(tmp_path, "gn8_bs1", history)
    report.report(tmp_path)
    low, high = figures[0].axes[2].get_ylim()
    assert low < 0.5 / 20 < 0.5 < high < 2


def test_a_cosine_makes_the_number_of_epochs_part_of_the_experiment(tmp_path):
    for seed, schedule in ((0, "plateau"), (1, "plateau"), (2, "cosine"), (3, "cosine")):
        count = 2 + seed % 2
        changes = {"schedule.name": schedule, "seed": seed, "epochs": count}
        training(tmp_path, f"{schedule}{seed}", epochs(count, 0.5), run="gn8_bs1", **changes)
    groups = [[each.name for each in group.trainings] for group in trainings.read(tmp_path).groups]
    assert groups == [["cosine2"], ["cosine3"], ["plateau0", "plateau1"]]


def test_seeds_that_patience_ended_count_with_all_their_epochs(tmp_path):
    lengths, ended = (4, 3, 6), (True, True, False)
    for seed, (length, early) in enumerate(zip(lengths, ended, strict=True)):
        name = f"gn8_bs1-seed{seed}"
        training(tmp_path, name, epochs(length, 0.8), run="gn8_bs1", seed=seed, epochs=6, patience=2)
        path = tmp_path / name / "result.json"
        path.write_text(json.dumps({**read_json(path), "patience": early}))
    (row,) = table(report.report(tmp_path).read_text(), "Figures")
    assert (row["epochs"], row["seeds"]) == ("6", "0, 1, 2")
    assert row["last val_accuracy"] == spread([0.8 + 0.01 * length - 0.03 for length in lengths])
    assert row["test accuracy"] == row["best val_accuracy"] == spread([0.8 + 0.01 * (length - 1) for length in lengths])


def test_a_reference_may_be_in_the_order_of_the_epochs(compared):
    before = report.report(compared).read_text()
    comment, header, *lines = (compared / "reference.csv").read_text().splitlines()
    lines.sort(key=lambda line: line.split(",")[1])
    (compared / "reference.csv").write_text("\n".join((comment, header, *lines)))
    assert report.report(compared).read_text() == before


def test_a_seed_counts_once_however_often_it_was_trained(compared):
    longer = [*epochs(3, 0.82), *epochs(5, 0.82)[3:]]
    training(compared, "again", longer, run="gn8_bs1", seed=1, epochs=5)
    rows = {row["epochs"]: row for row in table(report.report(compared).read_text(), "Figures")[::-1]}
    found = next(each for each in trainings.read(compared).groups if each.name == "gn8_bs1")
    assert [each.name for each in found.trainings] == ["gn8_bs1", "again", "gn8_bs1-seed2"]
    assert found.after(3).seeds == [0, 1, 2] and rows["5"]["seeds"] == "0, 1"


def test_trainings_of_one_seed_that_went_different_ways_have_rows_of_their_own(compared):
    training(compared, "other code", epochs(5, 0.9), run="gn8_bs1", epochs=5)
    lost = {"epoch": 1, "loss": 1.0, "mae": 1.0, "val_loss": 1.0, "val_mae": 1.0, "learning_rate": 0.1, "seconds": 1.0}
    training(compared, "prices", [lost], state="unfinished", run="gn8_bs1", seed=5)
    text = report.report(compared).read_text()
    found = [(row["training"], row["seeds"]) for row in table(text, "Figures") if row["epochs"] == "5"]
    assert found == [("gn8_bs1", "0"), ("other code", "0")]
    assert "Not compared, for lack of val_accuracy: prices." in text


def test_keeping_again_leaves_no_earlier_end(compared, tmp_path):
    out = tmp_path / "kept"
    archive.keep(compared, out)
    archive.keep(out, tmp_path / "again")
    assert (tmp_path / "again/gn8_bs1/history.csv").read_text() == (out / "gn8_bs1/history.csv").read_text()
    (compared / "gn8_amsgrad_bs1/result.json").unlink()  # as when it is resumed
    archive.keep(compared, out)
    states = {row["training"]: row["state"] for row in table(report.report(out).read_text(), "What was trained")}
    assert states["gn8_amsgrad_bs1"] == "not finished"


def test_what_is_kept_gives_the_same_page_and_names_no_machine(drawn, compared, tmp_path):
    page = report.report(compared).read_text()
    kept = tmp_path / "kept" / "runs"
    command = [sys.executable, "-m", "gnexp.report", f"--workdir={compared}", f"--out={kept}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{kept}/report/README.md\n", "")
    assert (kept / "report" / "README.md").read_text() == page
    assert report.report(kept).read_text() == page, "made again from what was kept"
    names = {"config.json", "provenance.json", "history.csv"}
    files = {path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()}
    assert {file.partition("/")[2] for file in files if file.startswith("gn8_bs1/")} == names | {"result.json"}
    assert {file.partition("/")[2] for file in files if file.startswith("bn_bs1/")} == names
    assert files >= {"reference.csv", "report/curves.png", "report/curves-batch-1.png"}
    for path in kept.rglob("*.*"):
        assert HOST not in path.read_text(errors="replace")
        assert FOLDER not in path.read_text(errors="replace")
    (process,) = read_json(kept / "gn8_bs1" / "provenance.json")
    expected = ["python", "-m", "gnexp.train", "--config=original.py:gn8_bs1", "--workdir=runs/x"]
    assert process == {"started": "2026-01-01", "command": expected, "cpus": 2}
    assert "history" not in json.loads((kept / "gn8_bs1" / "result.json").read_text())


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("run,epoch,seconds,loss,accuracy,val_loss\na,1,1,1,1,1\n", "has no column 'val_accuracy'"),
        ("run,epoch,seconds,loss,accuracy,val_loss,val_accuracy\na,1,1,1,1,1,high\n", "could not convert .* 'high'"),
        ("run,epoch,seconds,loss,accuracy,val_loss,val_accuracy\na,1,1,1,1,nan,1\n", "'nan' is not a finite number"),
        ("run,epoch,seconds,loss,accuracy,val_loss,val_accuracy\na,1,1\n", "must hold numbers"),
        ("run,epoch,seconds,loss,accuracy,val_loss,val_accuracy\n\xe4,1,1,1,1,1,1\n", "'utf-8' codec can't decode"),
        (
            "run,epoch,seconds,loss,accuracy,val_loss,val_accuracy\na,1,1,1,1,1,1\na,3,1,1,1,1,1\n",
            "the epochs of a must be 1, 2 and so on",
        ),
    ],
)
def test_a_reference_that_is_none_is_refused_and_nothing_written(tmp_path, reference, message):
    training(tmp_path, "gn8_bs1", epochs(2, 0.5))
    (tmp_path / "reference.csv").write_text(reference, encoding="latin-1")
    with pytest.raises(UserError, match=f"{re.escape(str(tmp_path))}/reference.csv.*{message}"):
        report.report(tmp_path)
    assert not (tmp_path / "report").exists()
