"""The page of a sweep: its numbers against numpy's and scipy's, its pictures, and what it says of little."""

import io
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
from absl import flags
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import stats
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from configs import smoke
from gnexp import report
from gnexp.config.stored import to_json
from gnexp.errors import UserError
from gnexp.space import boolean, by, choice, fixed, floats, integers
from tests.support.pages import capture, page, section, spread, sweep, table, trial

pytestmark = [pytest.mark.any_backend, pytest.mark.usefixtures("undrawn")]

ROOT = pathlib.Path(__file__).parents[2]
GROUPS, EPSILON = choice(1, 2, 4, 8), floats(1e-7, 1e-2, sampling="log")


def levels(text: str) -> dict[tuple[str, str], dict[str, str]]:
    """Returns the rows of the table of effects by hyperparameter and value."""
    path, found = "", {}
    for row in table(text, "What each hyperparameter does"):
        path = row["hyperparameter"].partition(" ")[0] or path
        found[path, row["value"]] = row
    return found


# The whole page of a sweep with a known truth: the score depends only on the groups


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A sweep of 40 trials with two seeds each, its page, each trial's values and scores, and the figures drawn."""
    rates = floats(1e-4, 1e-2, sampling="log")
    learning_rate = by("optimizer.name", role="nuisance", adam=rates, lion=rates)
    space = {
        "optimizer.learning_rate": learning_rate,
        "model.groups": GROUPS,
        "model.epsilon": EPSILON,
        "optimizer.name": choice("adam", "lion", "sgd"),
    }
    directory = sweep(tmp_path_factory.mktemp("known") / "my sweep", space, executions=2, **{"data.train_size": 400})
    rng = np.random.default_rng(0)
    trials = []
    for number in range(40):
        groups, optimizer = int(rng.choice([1, 2, 4, 8])), str(rng.choice(["adam", "lion", "sgd"]))
        values = {"model.groups": groups, "model.epsilon": 10 ** rng.uniform(-7, -2), "optimizer.name": optimizer}
        if optimizer != "sgd":
            values["optimizer.learning_rate"] = 10 ** rng.uniform(-4, -2)
        scores = 0.5 + 0.05 * np.log2(groups) + rng.normal(0, 0.004, 2)
        trials.append((values, scores.tolist()))
        trial(directory, number, *trials[-1])
    drawn = []
    with pytest.MonkeyPatch.context() as patched:
        capture(patched, drawn)
        text = page(directory)
    return directory, text, trials, drawn


def test_the_introduction_says_what_was_swept(known):
    introduction = known[1].partition("\n## ")[0]
    for words in (
        "# Sweep my sweep",
        "Dataset digits, trained on the first 400 of its training images for 3 epochs.",
        "Tuner random: 40 trials completed, 0 failed, 0 running or interrupted, of at most 50; 2 seeds per trial.",
        "The objective is val_accuracy (higher is better)",
        "on 10% of the training images, held out.",
    ):
        assert words in introduction


def test_the_best_ten_come_first_with_their_spread(known):
    directory, text, trials, _ = known
    order = np.argsort([-np.mean(scores) for _, scores in trials])[:10]
    rows = table(text, "The best trials")
    for row, index in zip(rows, order, strict=True):
        values, scores = trials[index]
        assert row["trial"] == f"{index:04}"
        for figure, known_as in ((scores, "val_accuracy"), ([scores[0] - 0.05, scores[1] - 0.04], "test accuracy")):
            assert float(row[known_as].split(" ± ")[0]) == pytest.approx(np.mean(figure), abs=1e-4)
        assert (row["seeds"], row["model.groups"]) == ("2", str(values["model.groups"]))
        assert row["optimizer.learning_rate"] == (
            f"{values['optimizer.learning_rate']:.4g}" if "optimizer.learning_rate" in values else ""
        )
    half = [float(row["val_accuracy"].split(" ± ")[1]) for row in rows]
    # By the spread of all trials: two seeds alone have one degree of freedom.
    assert max(half) < np.median([12.706205 * abs(a - b) / 2 for _, (a, b) in trials])
    means = [np.mean(trials[index][1]) for index in order]
    overlapping = sum(means[0] - half[0] <= means[i] + half[i] for i in range(1, 10))
    said = section(text, "The best trials")
    assert f"overlaps with those of {overlapping} of the 9 others" in said
    assert "The test accuracy played no part in the choice." in said
    assert f"python -m gnexp.train --config='{directory}/best.py'" in said


def test_the_effects_are_scipys(known):
    _, text, trials, _ = known
    found = levels(text)
    for groups in (1, 2, 4, 8):
        scores = [np.mean(scores) for values, scores in trials if values["model.groups"] == groups]
        row = found["model.groups", str(groups)]
        assert (row["trials"], row["failed"]) == (str(len(scores)), "")
        assert row["mean"] == spread(scores)
        assert row["best"] == f"{max(scores):.4f}"
    rates = sorted((values["optimizer.learning_rate"], np.mean(scores)) for values, scores in trials if len(values) > 3)
    names = [name for path, name in found if path == "optimizer.learning_rate"]
    for name, part in zip(names, np.array_split(rates, 4), strict=True):
        assert name == f"{part[0, 0]:.4g} to {part[-1, 0]:.4g}"
        assert found["optimizer.learning_rate", name]["mean"] == spread(part[:, 1])
    assert list(dict.fromkeys(path for path, _ in found))[-1] == "optimizer.learning_rate", "nuisance comes last"
    assert "drew them, at random" in section(text, "What each hyperparameter does")


def test_what_decides_the_score_is_the_most_important(known):
    text = known[1]
    rows = table(text, "Importance")
    assert {row["hyperparameter"] for row in rows} == {path for path, _ in levels(text)}
    assert rows[0]["hyperparameter"] == "model.groups"
    first, *rest = (float(row["importance"].split()[0]) for row in rows)
    assert first > 1 > 0.05 > max(rest)
    assert rest == sorted(rest, reverse=True)
    assert float(re.search(r"\(out-of-bag R²\): (-?[\d.]+)\.", text)[1]) > 0.9


def test_a_second_report_takes_the_place_of_the_first(drawn, known):
    folder = known[0] / "report"

    def made():
        return {path.name: path.read_bytes() for path in folder.iterdir() if "tfevents" not in path.name}

    before = made()
    assert set(before) == {"README.md", "answer.png", "curves.png", "effects.png", "importance.png"}
    page(known[0])
    assert made() == before
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1


def test_tensorboard_has_the_pictures(known):
    read = EventMultiplexer().AddRunsFromDirectory(str(known[0])).Reload()
    tensors = read.Runs()["report"]["tensors"]
    assert tensors == ["answer", "curves", "effects", "importance"]
    for tag in tensors:
        (event,) = read.Tensors("report", tag)
        width, height, png = event.tensor_proto.string_val
        assert png == (known[0] / "report" / f"{tag}.png").read_bytes()
        assert PIL.Image.open(io.BytesIO(png)).size == (int(width), int(height))


def test_the_pictures_show_the_numbers(known):
    _, _, trials, (_, curves, effects, _) = known
    means = np.array([np.mean(scores) for _, scores in trials])
    over_epochs, over_trials = curves.axes
    lines = {line.get_label(): line for line in (*over_epochs.lines, *over_trials.lines)}
    factors = np.array([0.81, 0.9, 1])
    np.testing.assert_allclose(lines["median of 40 trials"].get_ydata(), np.median(means) * factors)
    band = over_epochs.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(np.percentile(means, 25) * 0.81)
    assert band.max() == pytest.approx(np.percentile(means, 75))
    np.testing.assert_allclose(lines[f"best: trial {means.argmax():04}"].get_ydata(), means.max() * factors)
    thin = [line.get_ydata()[-1] for line in over_epochs.lines if line.get_linewidth() < 1]
    assert thin == pytest.approx(trials[means.argmax()][1])
    np.testing.assert_allclose(lines["a trial"].get_ydata(), means)
    np.testing.assert_allclose(lines["best so far"].get_ydata(), np.maximum.accumulate(means))

    panels = {axes.get_title(): axes for axes in effects.axes if axes.axison}
    assert list(panels) == [
        "model.epsilon (scientific)",
        "model.groups (scientific)",
        "optimizer.name (scientific)",
        "optimizer.learning_rate (nuisance)",
    ]
    groups, rates = panels["model.groups (scientific)"], panels["optimizer.learning_rate (nuisance)"]
    assert [label.get_text() for label in groups.get_xticklabels()] == ["1", "2", "4", "8"]
    dots = groups.lines[0]
    shown = [2 ** round(place) for place in dots.get_xdata()]
    assert shown == [values["model.groups"] for values, _ in trials]
    np.testing.assert_allclose(dots.get_ydata(), means)
    (bars,) = groups.containers[0][2]
    of = [
        [mean for mean, (values, _) in zip(means, trials, strict=True) if values["model.groups"] == g] for g in (1, 2)
    ]
    for place, (bar, scores) in enumerate(zip(bars.get_segments(), of, strict=False)):
        low, high = stats.t.interval(0.95, len(scores) - 1, loc=np.mean(scores), scale=stats.sem(scores))
        np.testing.assert_allclose(bar, [[place, low], [place, high]])
    assert (rates.get_xscale(), groups.get_xscale()) == ("log", "linear")


def test_no_text_runs_over_the_edge_or_into_another(drawn, tmp_path, figures):
    space = {
        "optimizer.name": choice("adam", "amsgrad", "adamw", "sgd", "rmsprop", "lion"),
        "data.batch_size": choice(1, 2, 4, 8, 16, 32, 64, 128),
        "optimizer.learning_rate": floats(1e-4, 1e-3, sampling="log", role="nuisance"),
        "schedule.min_learning_rate": floats(0, 1e-5, role="nuisance"),
        "model.args.l2": floats(3e-6, 1e-4, sampling="log", role="nuisance"),
        "optimizer.nesterov": boolean(role="nuisance"),
    }
    directory = sweep(tmp_path / "sweep", space, tuner="grid", executions=2)
    rng = np.random.default_rng(0)
    for number in range(24):
        values = {
            "optimizer.name": space["optimizer.name"]["values"][number % 6],
            "data.batch_size": 2 ** (number % 8),
            "optimizer.learning_rate": 10 ** rng.uniform(-4, -3),
            "schedule.min_learning_rate": rng.uniform(0, 1e-5),
            "model.args.l2": 10 ** rng.uniform(-5.4, -4),
            "optimizer.nesterov": number % 3 == 0,
        }
        trial(directory, number, values, rng.uniform(0.8, 0.9, 2))
    trial(directory, 24, values, status="FAILED", message="DivergedError: the loss is NaN")
    report.report(directory)
    assert len(figures) == 3  # No importance: no forest fits these scores.
    for figure in figures:
        renderer = FigureCanvasAgg(figure).get_renderer()
        legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()] + figure.legends
        texts = [text for legend in legends for text in legend.get_texts()]
        slanted = []
        for axes in figure.axes:
            if axes.axison:
                across, up = (sorted(limits) for limits in (axes.get_xlim(), axes.get_ylim()))
                shown = [t for t in axes.get_xticklabels(which="both") if across[0] <= t.get_position()[0] <= across[1]]
                shown += [t for t in axes.get_yticklabels(which="both") if up[0] <= t.get_position()[1] <= up[1]]
                slanted += [text for text in shown if text.get_rotation()]
                texts += [text for text in shown if not text.get_rotation()]
                texts += [axes.title, axes.xaxis.label, axes.yaxis.label]
        boxes = [text.get_window_extent(renderer) for text in texts if text.get_visible() and text.get_text()]
        inside = figure.bbox.padded(0.5)
        for number, box in enumerate(boxes):
            assert inside.x0 <= box.x0 <= box.x1 <= inside.x1
            assert inside.y0 <= box.y0 <= box.y1 <= inside.y1
            assert not any(box.overlaps(other) for other in boxes[number + 1 :]), texts[number]
        for text in slanted:
            assert inside.x0 <= text.get_window_extent(renderer).x0


# Sweeps of which less is known


def test_failures_are_told(tmp_path, figures):
    directory = sweep(tmp_path / "sweep", {"model.groups": GROUPS, "model.epsilon": EPSILON}, executions=2)
    for number in range(12):
        trial(directory, number, {"model.groups": 2, "model.epsilon": 1e-5 / (number + 1)}, (0.5, 0.6))
    message = "seed 1: ValueError: a | b `c`\n<second line>"
    trial(directory, 12, {"model.groups": 8, "model.epsilon": 1e-3}, (0.9,), status="FAILED", message=message)
    trial(directory, 13, {"model.groups": 2, "model.epsilon": 1e-3}, status="INVALID")
    trial(directory, 14, {"model.groups": 4, "model.epsilon": 1e-3}, (0.8,), status="RUNNING")
    text = page(directory)
    assert "12 trials completed, 2 failed, 1 running or interrupted" in text
    first, second = table(text, "Failures")
    assert first == {
        "trial": "0012",
        "message": r"`seed 1: ValueError: a \| b 'c' <second line>`",
        "values": "model.groups=8  model.epsilon=0.001",
    }
    assert second["trial"] == "0013"
    found = levels(text)
    assert ("model.groups", "4") not in found
    assert [found["model.groups", "2"][key] for key in ("trials", "failed", "best")] == ["12", "1", "0.5500"]
    assert [found["model.groups", "8"][key] for key in ("trials", "failed", "best")] == ["0", "1", ""]
    assert len(table(text, "The best trials")) == 10
    assert "overlaps with those of 9 of the 9 others" in text
    assert "all trials have the same score" in section(text, "Importance")
    (failed,) = [line for line in figures[0].axes[1].lines if line.get_label() == "a trial that failed"]
    assert list(failed.get_xdata()) == [12, 13]


def test_one_seed_gives_no_interval_and_noise_no_importance(tmp_path):
    directory = sweep(tmp_path / "sweep", {"model.groups": GROUPS, "model.epsilon": EPSILON})
    rng = np.random.default_rng(1)
    for number in range(20):
        values = {"model.groups": 2 ** int(rng.integers(4)), "model.epsilon": 10 ** rng.uniform(-7, -2)}
        trial(directory, number, values, (rng.uniform(0.4, 0.6),))
    text = page(directory)
    assert "One seed gives no interval: small differences between trials may be noise." in text
    assert "±" not in section(text, "The best trials")
    assert section(text, "Importance").strip().startswith("Left out: a random forest explains -")


@pytest.mark.parametrize("count", [9, 10])
def test_the_importance_of_few_trials_is_not_shown(tmp_path, count):
    directory = sweep(tmp_path / "sweep", {"model.groups": GROUPS})
    for number in range(count):
        trial(directory, number, {"model.groups": 2 ** (number % 4)}, (0.5 + 0.1 * (number % 4) + 0.001 * number,))
    said = section(page(directory), "Importance")
    if count < 10:
        assert said.strip() == "Left out: it takes 10 completed trials, and this sweep has 9."
    assert bool(table(f"## Importance\n{said}", "Importance")) == (count >= 10)
    assert (directory / "report" / "importance.png").exists() == (count >= 10)


def test_a_trial_of_hyperband_that_another_goes_on_from_counts_once(tmp_path, figures):
    directory = sweep(tmp_path / "sweep", {"model.groups": GROUPS}, tuner="hyperband", epochs=9)
    for number in range(6):
        values = {"model.groups": 2 ** (number % 4), "tuner/epochs": 3, "tuner/initial_epoch": 0, "tuner/round": 0}
        trial(directory, number, values, (0.5 + 0.01 * number,), epochs=3)
    more = {"tuner/epochs": 9, "tuner/initial_epoch": 3, "tuner/round": 1, "tuner/trial_id": "0005"}
    trial(directory, 6, {"model.groups": 2} | more, (0.7,), epochs=9)
    text = page(directory)
    assert "for up to 9 epochs. Tuner hyperband: 7 trials completed" in text
    rows = table(text, "The best trials")
    assert [row["trial"] for row in rows] == ["0006", "0004", "0003", "0002", "0001", "0000"]
    assert [row["epochs"] for row in rows] == ["9"] + ["3"] * 5
    assert sum(int(row["trials"]) for row in levels(text).values()) == 6
    assert "biased by where it looked" in text
    median = next(line for line in figures[0].axes[0].lines if line.get_label() == "median of 6 trials")
    np.testing.assert_allclose(median.get_ydata()[-6:], 0.7 * 0.9 ** np.arange(5, -1, -1.0))


@pytest.mark.parametrize("count", [0, 2])
def test_a_sweep_without_a_completed_trial_has_a_page(tmp_path, count):
    directory = sweep(tmp_path / "sweep", {"model.groups": GROUPS}, **{"data.train_size": 0})
    for number in range(count):
        trial(directory, number, {"model.groups": 2}, status="FAILED", message="DivergedError: the loss is NaN")
    trial(directory, count, {"model.groups": 4}, status="RUNNING")
    (directory / "report").mkdir()
    (directory / "report" / "importance.png").touch()  # from an earlier page
    text = page(directory)
    assert (
        f"trained on all of its training images for 3 epochs. Tuner random: 0 trials completed, {count} failed, 1"
        in text
    )
    assert "No trial has completed yet." in section(text, "Curves")
    assert len(table(text, "Failures")) == count
    assert [row["failed"] for row in levels(text).values()] == ([str(count)] if count else [])
    assert [path.name for path in (directory / "report").iterdir()] == ["README.md"]


def test_a_loss_is_the_better_the_lower_and_a_wide_range_is_shown_on_a_logarithmic_axis(tmp_path, figures):
    epsilon = by("optimizer.nesterov", true=EPSILON, false=fixed(1e-3))
    space = {"model.epsilon": epsilon, "optimizer.nesterov": boolean(), "model.args.units": integers(16, 64, step=16)}
    directory = sweep(tmp_path / "sweep", space, tuner="bayesian", objective="val_loss", **{"data.validation": "test"})
    for number, loss in enumerate((3.0, 0.2, 40.0, 0.1, 0.4)):
        values = {
            "model.args.units": 16 * (number % 4 + 1),
            "optimizer.nesterov": number % 2 == 0,
            "model.epsilon": 1e-3,
        }
        trial(directory, number, values, (loss,), objective="val_loss")
    text = page(directory)
    assert [row["val_loss"] for row in table(text, "The best trials")] == [
        "0.1000",
        "0.2000",
        "0.4000",
        "3.0000",
        "40.0000",
    ]
    assert "(lower is better)" in text
    assert "**So the choice was made on the test set**" in text
    assert "played no part" not in text
    assert "biased by where it looked" in text
    assert levels(text)["optimizer.nesterov", "True"]["best"] == "0.4000"
    over_trials = figures[0].axes[1]
    curve = next(line for line in over_trials.lines if line.get_label() == "best so far")
    assert list(curve.get_ydata()) == [3.0, 0.2, 0.2, 0.1, 0.1]
    assert {axes.get_yscale() for axes in (over_trials, *figures[1].axes) if axes.axison} == {"log"}


def test_a_choice_of_many_values_keeps_its_places(tmp_path, figures):
    units = [2**exponent for exponent in range(10)]
    directory = sweep(tmp_path / "sweep", {"model.args.units": choice(*units)})
    for number in range(20):
        trial(directory, number, {"model.args.units": units[number % 10]}, (0.5 + 0.01 * number,))
    found = levels(page(directory))
    assert [name for _, name in found] == [str(count) for count in units]
    axes = figures[2].axes[0]
    assert list(axes.get_xticks()) == list(range(10))
    places = axes.lines[1].get_xdata()
    assert list(places) == list(range(10))


# The command line


@pytest.mark.parametrize("kind", ["missing", "empty", "training", "file"])
def test_what_is_no_sweep_is_refused_and_nothing_written(tmp_path, kind):
    directory = tmp_path / "it"
    if kind == "file":
        directory.touch()
    elif kind != "missing":
        directory.mkdir()
    if kind == "training":
        (directory / "config.json").write_text(json.dumps(to_json(smoke.get_config())))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=re.escape(str(directory))):
        report.report(directory)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--workdir is missing: it must be the folder of a sweep, such as runs/sweep, or of several trainings"),
        (
            ["--workdir="],
            "--workdir is missing: it must be the folder of a sweep, such as runs/sweep, or of several trainings",
        ),
        (["--workdir=runs", "--top=3"], "Unknown command line flag 'top'"),
        (["runs"], "'runs' is not a flag: the flags are --workdir=FOLDER and --out=FOLDER"),
    ],
)
def test_a_mistake_in_the_command_line_is_one_line(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["report.py", *arguments])
    try:
        with pytest.raises(SystemExit) as ended:
            report.main()
    finally:
        for name in ("workdir", "out", "version"):
            delattr(flags.FLAGS, name)
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", f"gnexp: {message}\n")


def test_the_real_command_line(known, tmp_path):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    good, bad = (
        subprocess.Popen([sys.executable, *options, "-m", "gnexp.report", f"--workdir={directory}"], **pipes)
        for options, directory in ((["-X", "importtime"], known[0]), ([], tmp_path / "absent"))
    )
    stdout, stderr = good.communicate(timeout=100)
    written = "".join(f"{known[0] / 'report' / name}\n" for name in ("README.md", "index.html"))
    assert (good.returncode, stdout) == (0, written)
    imported = {line.rpartition("|")[2].strip() for line in stderr.splitlines() if line.startswith("import time:")}
    assert len(imported) > 100
    assert not {"tensorflow", "keras", "keras_tuner"} & imported
    assert all(line.startswith("import time:") for line in stderr.splitlines())
    stdout, stderr = bad.communicate(timeout=100)
    assert (bad.returncode, stdout) == (2, "")
    assert stderr == f"gnexp: --workdir={tmp_path / 'absent'} holds neither a sweep nor folders with trainings\n"
    assert not list(tmp_path.iterdir())
