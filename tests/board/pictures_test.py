"""What the pictures of the tab Sweeps hold, in a real browser, beside the sweep's own files."""

import json
import math
import re
import shutil
import statistics

import numpy as np
import pytest
from scipy import stats

from gnexp.analysis.importance import importance
from gnexp.analysis.intervals import half_widths
from gnexp.analysis.sweep import read_sweep
from gnexp.space import choice, floats
from tests.support import pages
from tests.support.made_up import add_trials

pytestmark = [pytest.mark.any_backend, pytest.mark.slow]

LIVE = "team/live"


class Trial:
    """A trial, straight from the files."""

    def __init__(self, path, workdir):
        state = json.loads(path.read_text())
        self.id, self.status = state["trial_id"], state["status"]
        self.values = state["hyperparameters"]["values"]
        folders = sorted((workdir / "trials" / self.id).glob("seed-*"))
        results = [json.loads((folder / "result.json").read_text()) for folder in folders if self.status != "FAILED"]
        self.curves = [[epoch["val_accuracy"] for epoch in each["history"]] for each in results]
        self.scores = [each["best_value"] for each in results]
        done = self.status == "COMPLETED"
        self.mean = statistics.fmean(self.scores) if done else None
        self.interval = stats.t.ppf(0.975, 2) * stats.sem(self.scores) if done else None


@pytest.fixture
def trials(shown):
    found = [Trial(path, shown / LIVE) for path in sorted((shown / LIVE / "oracle").glob("trial_*/trial.json"))]
    return {trial.id: trial for trial in found}


@pytest.fixture
def picture(page):
    """Opens the sweep with a choice and returns a panel's traces and axes, as Plotly drew them."""
    script = """
        const figure = document.querySelector(`#panel-${arguments[0]} .figure`), layout = figure._fullLayout;
        const axes = Object.keys(layout).filter((name) => /^[xy]axis\\d*$/.test(name));
        const kept = (axis) => ({type: axis.type, title: axis.title.text, names: axis.ticktext ?? null});
        return [figure.data, Object.fromEntries(axes.map((name) => [name, kept(layout[name])]))];"""

    def drawn(panel, **choice):
        page.open(open=[LIVE], kind="sweep", **choice)
        page.drawn(panel)
        return page.browser.execute_script(script, panel)

    return drawn


def close(values):
    return pytest.approx(list(values), rel=1e-9)


def test_progress_over_time_and_on_a_log_axis(picture, trials):
    (done, best, failed), axes = picture("progress", progressX="time", progressLog=True)
    completed = [trial for trial in trials.values() if trial.mean is not None]
    assert sorted(done["y"]) == close(sorted(trial.mean for trial in completed))
    assert done["customdata"] == [trial.id for trial in completed]  # In this sweep they ended in their order.
    by_id = dict(zip(done["customdata"], done["error_y"]["array"], strict=True))
    assert [by_id[trial.id] for trial in completed] == close(trial.interval for trial in completed)
    assert best["y"][-1] == pytest.approx(max(trial.mean for trial in completed))
    assert set(failed["customdata"]) == {trial.id for trial in trials.values() if trial.status == "FAILED"}
    assert axes["yaxis"]["type"] == "log" and axes["xaxis"]["type"] == "date"


def test_curves_have_each_seed_and_their_mean_also_of_a_running_trial(picture, trials):
    traces, _ = picture("curves", picked=["0003", "0029"])
    assert trials["0029"].status == "RUNNING"
    *seeds, mean, running = [trace["y"] for trace in traces]
    assert seeds == [close(curve) for curve in trials["0003"].curves]
    assert mean == close(map(statistics.fmean, zip(*trials["0003"].curves, strict=True)))
    assert running == close(trials["0029"].curves[0])
    assert traces[3]["line"]["width"] > 2 * traces[0]["line"]["width"]


def test_slices_have_every_trial_that_has_the_value(picture, trials):
    traces, axes = picture("slices")
    titles = {axis["title"].split(" ")[0]: name for name, axis in axes.items() if name.startswith("x")}
    assert axes[titles["optimizer.learning_rate"]]["type"] == "log"
    assert axes[titles["optimizer.momentum"]]["type"] == "linear"
    for path in ("optimizer.learning_rate", "optimizer.momentum"):
        done, failed, *best = [each for each in traces if each["xaxis"] == titles[path].replace("axis", "")]
        having = [trial for trial in trials.values() if path in trial.values]
        completed = [trial for trial in having if trial.mean is not None]
        assert done["customdata"] == [trial.id for trial in completed]
        assert done["x"] == close(trial.values[path] for trial in completed)
        assert done["y"] == close(trial.mean for trial in completed)
        assert done["error_y"]["array"] == close(trial.interval for trial in completed)
        assert failed["customdata"] == [trial.id for trial in having if trial.status == "FAILED"]
        assert all(y < min(done["y"]) for y in failed["y"])
        top = max((trial for trial in trials.values() if trial.mean is not None), key=lambda trial: trial.mean)
        assert [(each["customdata"], each["y"]) for each in best] == [([top.id], [top.mean])] * (top in having)
    assert len(having) < len(trials)  # momentum is conditional
    done, _, ring = [each for each in traces if each["xaxis"] == titles["optimizer.name"].replace("axis", "")]
    assert done["x"][done["customdata"].index(top.id)] == ring["x"][0]  # Names are spread, the ring with its point.


def test_a_range_has_the_curve_of_its_model_over_the_trials(page, shown):
    space = {"model.epsilon": floats(1e-7, 1e-2, sampling="log"), "model.groups": choice(1, 4)}
    directory, rng = pages.sweep(shown / "team" / "ranges", space, tuner="bayesian"), np.random.default_rng(0)
    try:
        for number in range(40):
            values = {"model.epsilon": 10 ** rng.uniform(-7, -2), "model.groups": (1, 4)[number % 2]}
            score = 0.7 - 0.01 * math.log10(values["model.epsilon"]) + 0.01 * values["model.groups"]
            pages.trial(directory, number, values, (score + rng.normal(0, 0.002),))
        page.until(lambda: page.open(open=["team/ranges"], kind="sweep").all("#panel-answer"))
        page.drawn("answer")
        figure = "const figure = document.querySelector('#panel-answer .figure');"
        script = f"{figure} return [figure.data, figure._fullLayout.xaxis.type, figure._fullLayout.xaxis2.ticktext]"
        (low, high, points, line, places, model), kind, names = page.browser.execute_script(script)
    finally:
        shutil.rmtree(directory)
    assert (kind, names) == ("log", ["1", "4"]) and len(points["x"]) == len(places["x"]) == 40
    assert len(line["x"]) == 24 and (line["x"][0], line["x"][-1]) == (min(points["x"]), max(points["x"]))
    assert line["y"] == pytest.approx([0.725 - 0.01 * math.log10(value) for value in line["x"]], abs=0.008)
    assert all(a < b < c for a, b, c in zip(low["y"], line["y"], high["y"], strict=True))
    assert model["y"][1] - model["y"][0] == pytest.approx(0.03, abs=0.005)


@pytest.mark.parametrize("ranks", [False, True])
def test_a_contour_has_the_scores_or_the_ranks(picture, trials, ranks):
    chosen = {"contourX": "optimizer.learning_rate", "contourY": "optimizer.momentum", "contourRanks": ranks or None}
    (field, points), _ = picture("contour", **chosen)
    having = [trial for trial in trials.values() if "optimizer.momentum" in trial.values and trial.mean is not None]
    having.sort(key=lambda trial: -trial.mean)
    assert points["customdata"] == [trial.id for trial in having]
    assert points["x"] == close(math.log10(trial.values["optimizer.learning_rate"]) for trial in having)
    shown = range(1, len(having) + 1) if ranks else [trial.mean for trial in having]
    assert points["marker"]["color"] == close(shown) and field["type"] == "contour"
    known = [value for row in field["z"] for value in row if value is not None]
    assert min(shown) - 1e-9 <= min(known) < max(known) <= max(shown) + 1e-9


def test_importance_is_that_of_the_analysis_with_its_fit(picture, page, shown):
    ((bars,), _) = picture("importance")
    found = importance(read_sweep(shown / LIVE))
    assert bars["y"] == list(reversed(found.paths)) and bars["x"] == close(reversed(found.means))
    assert bars["error_x"]["array"] == close(reversed(found.spreads))
    assert page.texts("#panel-importance .note")[0] == found.text.replace("**", "")


def test_the_distribution_has_every_score(picture, trials):
    ((line,), _) = picture("distribution")
    scores = sorted(trial.mean for trial in trials.values() if trial.mean is not None)
    assert line["x"] == close(scores) and line["y"] == close(stats.ecdf(scores).cdf.probabilities)


def test_axes_and_columns_are_chosen(picture, page):
    ((lines,), _) = picture("parallel", axesOff=["model.norm"], hidden=["test", "seconds"])
    labels = [axis["label"] for axis in lines["dimensions"]]
    assert "model.groups" in labels and "model.norm" not in labels
    heads = page.until(lambda: page.texts("table.trials th button"))
    assert "test loss" in heads and "test accuracy" not in heads
    tick = "[...document.querySelectorAll('.chooser label')].find((a) => a.textContent.trim() === arguments[0]).click()"
    page.browser.execute_script(tick, "test accuracy")
    page.until(lambda: "test accuracy" in page.texts("table.trials th button"))


def test_the_list_says_state_best_and_time_left(page, shown, trials):
    page.open()
    page.until(lambda: page.texts("tbody button.link"))
    row = page.until(lambda: [text for text in page.texts("tbody tr") if LIVE in text])[0]
    best = max((trial for trial in trials.values() if trial.mean is not None), key=lambda trial: trial.mean)
    half = half_widths([trial.scores for trial in trials.values() if trial.mean is not None])
    completed = [trial for trial in trials.values() if trial.mean is not None]
    assert f"{best.mean:.4f}" in row and f"{half[completed.index(best)]:.4f}" in row and re.search(r"\d+ min", row)


def test_a_sweep_that_goes_on_is_drawn_again(picture, page, shown):
    (before, *_), _ = picture("progress")
    add_trials(shown / LIVE, [30])
    script = "return document.querySelector('#panel-progress .figure').data[0].x.length"
    try:
        page.until(lambda: page.browser.execute_script(script) == len(before["x"]) + 1)
    finally:
        for folder in ("oracle/trial_0030", "trials/0030"):
            for path in sorted((shown / LIVE / folder).rglob("*"), reverse=True):
                path.unlink() if path.is_file() else path.rmdir()
            (shown / LIVE / folder).rmdir()
