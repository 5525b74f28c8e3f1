"""A sweep in a real TensorBoard: over its HTTP API, and in a real browser."""

import math
import shutil
import time

import pytest
from scipy import stats
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from gnexp.analysis import outcomes
from gnexp.analysis.sweep import read_trials
from gnexp.space import floats
from tests.support.boards import TensorBoard, chromium
from tests.support.sweeps import run, tiny

pytestmark = pytest.mark.any_backend

_BEST = {"group": "", "tag": "best_val_accuracy"}


def _groups(board, *columns, **body):
    return list(board.groups(colParams=list(columns), **body).values())


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, failing_sweep):
    """Two sweeps of one name under one logdir: six trials of two seeds, of which two fail, and one by hyperband."""
    runs = tmp_path_factory.mktemp("runs")
    found = read_trials(shutil.copytree(failing_sweep, runs / "sweep"))
    config = tiny("hyperband", trials=4, epochs=3, model={"epsilon": floats(1e-7, 1e-2, sampling="log")})
    run(config, runs / "other" / "sweep")
    return runs, found


@pytest.fixture(scope="module")
def board(sweep):
    """A TensorBoard that has read the first of them."""
    runs, found = sweep
    shown = TensorBoard(runs / "sweep")
    deadline = time.monotonic() + 60
    while len(_groups(shown)) < len(found) and time.monotonic() < deadline:
        time.sleep(0.5)
    return shown


def _value(group, tag):
    return {metric["name"]["tag"]: metric["value"] for metric in group["metricValues"]}.get(tag)


def test_every_hyperparameter_has_a_type_and_a_domain_and_the_searched_ones_come_first(board):
    infos = board.hparams("experiment", hparamsLimit=1000)["hparamInfos"]
    assert [info["name"] for info in infos if info["differs"]] == [
        "model.groups",
        "optimizer.learning_rate",
        "optimizer.name",
    ]
    assert [info["name"] for info in infos][:3] == ["model.groups", "optimizer.learning_rate", "optimizer.name"]
    by_name = {info["name"]: info for info in infos}
    for info in infos:
        assert info["type"] in ("DATA_TYPE_STRING", "DATA_TYPE_BOOL", "DATA_TYPE_FLOAT64")
        assert "domainDiscrete" in info or "domainInterval" in info
    assert by_name["model.groups"]["domainDiscrete"] == [1, 2]
    assert by_name["optimizer.name"]["domainDiscrete"] == ["adam", "sgd"]
    assert by_name["optimizer.momentum"]["domainDiscrete"] == [0, 0.5]
    assert by_name["model.epsilon"]["domainDiscrete"] == [1e-6]
    assert "seed" not in by_name


def test_the_objectives_best_is_the_first_metric(board):
    metrics = board.hparams("experiment", hparamsLimit=1000)["metricInfos"]
    assert [(metric["name"]["tag"], metric["displayName"]) for metric in metrics[:3]] == [
        ("best_val_accuracy", "best val_accuracy"),
        ("interval95", "± 95% of best val_accuracy"),
        ("executions", "seeds"),
    ]


def test_each_trial_is_a_group_and_each_seed_a_session(board, sweep):
    _, found = sweep
    groups = sorted(_groups(board), key=lambda group: group["name"])
    assert [group["name"].partition(" ")[0] for group in groups] == [outcome.trial_id for outcome in found]
    for group, outcome in zip(groups, found, strict=True):
        ends = [session["status"] for session in group["sessions"]]
        if outcome.status == outcomes.FAILED:
            assert ends == ["STATUS_FAILURE"]
            continue
        assert ends == ["STATUS_SUCCESS"] * 2
        names = sorted(session["name"] for session in group["sessions"])
        assert names == [f"trials/{outcome.trial_id}/seed-{seed}" for seed in (0, 1)]
        first, second = outcome.scores
        assert _value(group, "best_val_accuracy") == pytest.approx((first + second) / 2)
        # Student's t with one degree of freedom, by hand.
        assert _value(group, "interval95") == pytest.approx(stats.t.ppf(0.975, 1) * abs(first - second) / 2, abs=1e-6)
        assert _value(group, "executions") == 2


def test_no_column_is_empty_or_not_a_number(board):
    names = {info["name"] for info in board.hparams("experiment", hparamsLimit=1000)["hparamInfos"]}
    for group in _groups(board):
        assert set(group["hparams"]) == names
        assert not any(value is None or value in ("NaN", "Infinity") for value in group["hparams"].values())
        for metric in group["metricValues"]:
            assert isinstance(metric["value"], (int, float)) and math.isfinite(metric["value"])
    momentum = {group["hparams"]["optimizer.name"]: group["hparams"]["optimizer.momentum"] for group in _groups(board)}
    assert momentum == {"adam": 0, "sgd": 0.5}


def test_rows_are_filtered_and_sorted(board, sweep):
    _, found = sweep
    two = _groups(board, {"hparam": "model.groups", "filterDiscrete": [2]})
    assert len(two) == 2 and {group["hparams"]["model.groups"] for group in two} == {2}
    assert len(_groups(board, {"hparam": "optimizer.name", "filterRegexp": "^sg"})) == 3
    slow = _groups(board, {"hparam": "optimizer.learning_rate", "filterInterval": {"minValue": 0, "maxValue": 1}})
    assert len(slow) == 4
    failed = _groups(board, allowedStatuses=["STATUS_FAILURE"])
    assert [group["name"].partition(" ")[0] for group in failed] == ["0002", "0003"]
    best = _groups(board, {"metric": _BEST, "order": "ORDER_DESC"}, allowedStatuses=["STATUS_SUCCESS"])
    values = [_value(group, "best_val_accuracy") for group in best]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(max(outcome.mean for outcome in found if outcome.mean))


def test_the_best_so_far_is_a_curve_at_the_root(sweep):
    runs, found = sweep
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(runs / "sweep")).Reload()
    curve = [
        (event.step, event.tensor_proto.float_val[0]) for event in multiplexer.Tensors(".", "best_so_far/val_accuracy")
    ]
    expected, best = [], -1.0
    for step, outcome in enumerate(found, start=1):
        best = max(best, outcome.mean or best)
        expected.append((step, pytest.approx(best)))
    assert curve == expected


def test_two_sweeps_of_one_name_share_no_group(sweep):
    runs, found = sweep
    both = TensorBoard(runs)
    deadline = time.monotonic() + 60
    while len(_groups(both)) < len(found) + 4 and time.monotonic() < deadline:
        time.sleep(0.5)
    names = [group["name"] for group in _groups(both)]
    assert len(names) == len(set(names)) == len(found) + 4
    assert {name[:11] for name in names} == {f"{outcome.trial_id} sweep-" for outcome in found}


def test_hyperband_shows_its_rungs(sweep):
    runs, _ = sweep
    shown = TensorBoard(runs / "other" / "sweep")
    deadline = time.monotonic() + 60
    while len(_groups(shown)) < 4 and time.monotonic() < deadline:
        time.sleep(0.5)
    rows = [group["hparams"] for group in sorted(_groups(shown), key=lambda group: group["name"])]
    assert [(row["tuner/bracket"], row["tuner/round"], row["epochs"]) for row in rows] == [
        (1, 0, 1),
        (1, 0, 1),
        (1, 0, 1),
        (1, 1, 3),
    ]
    assert [row["tuner/trial_id"] for row in rows[:3]] == [""] * 3 and rows[3]["tuner/trial_id"] in (
        "0000",
        "0001",
        "0002",
    )
    assert all(row["log10(model.epsilon)"] == pytest.approx(math.log10(row["model.epsilon"])) for row in rows)
    names = [info["name"] for info in shown.hparams("experiment", hparamsLimit=1000)["hparamInfos"]]
    assert names[:2] == ["epochs", "log10(model.epsilon)"]


_FIND = """
const find = (root, tag) => {
  for (const element of root.querySelectorAll("*")) {
    if (element.tagName === tag) return element;
    const inside = element.shadowRoot && find(element.shadowRoot, tag);
    if (inside) return inside;
  }
  return null;
};
"""


@pytest.fixture(scope="module")
def browser(board):
    """Headless Chromium on the HParams page."""
    shown = chromium()
    shown.get(f"{board.url}#hparams")
    yield shown
    shown.quit()


def _until(browser, script, wanted):
    """Returns what a script gives as soon as it is what is wanted, or after half a minute in any case."""
    deadline = time.monotonic() + 30
    while True:
        found = browser.execute_script(_FIND + script)
        if wanted(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def _open(browser, tab):
    opened = f"""
        const tabs = find(document, "PAPER-TABS");
        if (tabs) tabs.querySelectorAll("paper-tab")[{tab}].click();
        return !!tabs;"""
    assert _until(browser, opened, bool)


def test_the_table_shows_every_trial(browser, board):
    _open(browser, 0)
    cells = """
        const table = find(document, "TF-HPARAMS-TABLE-VIEW"), texts = [];
        const visit = root => root.querySelectorAll("*").forEach(element => {
          if (element.classList.contains("table-cell")) texts.push(element.textContent.trim());
          if (element.shadowRoot) visit(element.shadowRoot);
        });
        if (table) visit(table.shadowRoot);
        return texts;"""
    names = {group["name"] for group in _groups(board)}
    texts = _until(browser, cells, lambda found: names <= set(found))
    assert names <= set(texts)
    assert {"model.groups", "optimizer.name", "best val_accuracy", "seeds"} <= set(texts)


def test_parallel_coordinates_draw_a_line_for_every_trial_that_completed(browser, sweep):
    _, found = sweep
    _open(browser, 1)
    completed = sum(outcome.status == outcomes.COMPLETED for outcome in found)
    lines = """
        const plot = find(document, "TF-HPARAMS-PARALLEL-COORDS-PLOT");
        if (!plot) return [];
        return [...plot.shadowRoot.querySelectorAll("g.foreground path")].map(path => path.getAttribute("d"));"""
    drawn = _until(browser, lines, lambda paths: len(paths) == completed)
    assert len(drawn) == completed
    assert not any("NaN" in path for path in drawn)


def test_the_scatter_plot_draws_its_points(browser, sweep):
    _, found = sweep
    _open(browser, 2)
    points = """
        const plot = find(document, "TF-HPARAMS-SCATTER-PLOT-MATRIX-PLOT");
        if (!plot) return [];
        return [...plot.shadowRoot.querySelectorAll("circle")].map(point => point.getAttribute("cx"));"""
    completed = sum(outcome.status == outcomes.COMPLETED for outcome in found)
    drawn = _until(browser, points, lambda found: len(found) >= completed)
    # Each of the cells has a point for every trial.
    assert drawn and len(drawn) % completed == 0
    assert not any(place in (None, "NaN") for place in drawn)
