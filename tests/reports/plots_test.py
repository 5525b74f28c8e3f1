"""Every picture of the reports is drawn, whatever the figures are: none, few, equal, not finite, huge, tiny."""

import dataclasses
import itertools
import math
import threading
import warnings
from concurrent import futures

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from ml_collections import ConfigDict

from configs import smoke_sweep
from gnexp.analysis import effects, outcomes
from gnexp.analysis.answer import Answer
from gnexp.analysis.outcomes import Outcome
from gnexp.analysis.sweep import swept
from gnexp.analysis.trainings import Group, Record, curves
from gnexp.config.objective import Objective
from gnexp.reports import answer_plots, page, sweep_plots, trainings_plots
from gnexp.reports.page import Section
from gnexp.space import choice, floats
from gnexp.space.parse import parse_space
from gnexp.workdir import result
from gnexp.workdir.result import Result

pytestmark = pytest.mark.any_backend

_ACCURACY = Objective("accuracy", "max")
_CURVES = curves(_ACCURACY)

_ODD = (0.0, 0.25, 0.9, -1.0, math.nan, math.inf, -math.inf, 1e30, 1e307, -1e307, 1e-300, 5e-324)
FIGURES = [
    (),
    *((value,) for value in _ODD),
    *((value, value) for value in _ODD),
    *itertools.pairwise(_ODD),
    (0.5, 0.5, 0.5),
    (0.1, 0.2, 0.3),
    (0.1, math.nan, 0.3),
    (math.nan, 0.2, math.inf),
    (1e-300, 0.2, 1e307),
    (0.3, 1e30, 0.2),
]
_SHARES = [FIGURES[start::4] for start in range(4)]


def _drawn(figure):
    figure.set_layout_engine("none")  # It would draw everything several times.
    figure.set_dpi(15)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        assert np.isfinite([*axes.get_xlim(), *axes.get_ylim()]).all()
    return figure


def _group(rows, reference=0):
    """Returns trainings of two seeds whose four curves are rows; each ends with its shortest."""
    history = [dict(zip(_CURVES, values, strict=True)) for values in zip(*rows, strict=True)]
    records = tuple(Record(f"a-{seed}", {"seed": seed}, history, {}) for seed in range(2))
    return Group("a", records, [dict.fromkeys(_CURVES, 0.5)] * reference, _ACCURACY)


@pytest.mark.parametrize("length", [0, 1, 2, 3])
@pytest.mark.parametrize("reference", [0, 1])
def test_curves_of_trainings(length, reference):
    rows = [values for values in FIGURES if len(values) == length] * 4
    for four in zip(*[iter(rows[: len(rows) // 4 + 3])] * 4, strict=False):
        group = _group(four, reference)
        figure = _drawn(trainings_plots.curves([group], _ACCURACY, trainings_plots.colors([group])))
        for axes, values in zip(figure.axes, four, strict=True):
            low, high = axes.get_ylim()
            near = [value for value in values if abs(value) <= 1]  # With these, nothing is far off.
            assert len(near) < len(values) or all(low <= value <= high for value in near)


def _swept(values, objective="val_loss"):
    """Returns a sweep of trials with these scores, of two seeds with up to two epochs, and of one that failed."""
    config = smoke_sweep.get_config()
    config.objective = objective
    config.sweep.space = ConfigDict({"model": {"groups": choice(1, 2, 4, 8), "args": {"l2": floats(0.0, 1.0)}}})
    trials = [
        Outcome(f"{number:04}", _chosen(number), outcomes.COMPLETED, None, (_result(value, objective, number % 3),) * 2)
        for number, value in enumerate(values)
    ]
    every = [*trials, Outcome("0009", _chosen(3), outcomes.FAILED, "it failed", ())]
    return swept(None, config, parse_space(config), every)


def _chosen(number):
    return {"model.groups": 2**number, "model.args.l2": number / 4}


def _result(value, objective, epochs):
    history = [{"epoch": epoch, objective: value} for epoch in range(1, epochs + 1)]
    return Result(result.SUCCESS, "digits", 0.1, objective, value, 1, {"accuracy": value, "loss": 0.5}, 1.0, history)


# Means of what is not finite are computed in analysis/.
_MEANS = pytest.mark.filterwarnings("error", "ignore::RuntimeWarning")


@_MEANS
@pytest.mark.parametrize("cases", _SHARES)
def test_pictures_of_a_sweep(cases):
    for number, values in enumerate(cases):
        if values:  # At least one trial must have completed.
            sweep = _swept(values, ("val_loss", "val_accuracy")[number % 2])
            _drawn(sweep_plots.curves(sweep))
            _drawn(sweep_plots.effects(sweep, effects.effects(sweep.config, sweep.space, sweep.counted)))


def test_a_seed_that_patience_ended_early_is_in_the_mean_as_far_as_it_got():
    sweep = _swept([0.5])
    short, long = _result(0.4, "val_loss", 2), _result(0.6, "val_loss", 3)
    trials = [dataclasses.replace(sweep.trials[0], results=(short, long))]
    figure = sweep_plots.curves(swept(None, sweep.config, sweep.space, trials))
    (best,) = [line for line in figure.axes[0].get_lines() if line.get_label() == "best: trial 0000"]
    assert best.get_ydata() == pytest.approx([0.5, 0.5, 0.6])


@pytest.mark.parametrize("cases", _SHARES)
def test_importance(cases):
    for values in cases:
        _drawn(sweep_plots.importance([f"model.{number}" for number in range(len(values))], values, np.abs(values)))


@_MEANS
@pytest.mark.parametrize("cases", _SHARES)
def test_answers(cases):
    for values in cases:
        answers = [
            Answer({"model.groups": 2**number}, 1, 0, _swept((value,)).trials[0], (), "accuracy")
            for number, value in enumerate(values)
        ]
        failed = Answer({"model.groups": 2 ** len(values)}, 0, 1, None, (), "accuracy")
        _drawn(answer_plots.error([*answers, failed], "model.groups"))


def test_reports_of_one_folder_at_once_leave_one_of_them_whole(tmp_path, monkeypatch):
    begun, inside = threading.Barrier(4), []
    write = page._write

    def watched(*arguments):
        inside.append(len(inside))
        assert len(inside) == 1, "another report is being written"
        write(*arguments)
        inside.clear()

    def report(number):
        figure = sweep_plots.importance(["model.args.l2"], [number], [0.0])
        begun.wait()
        page.write(tmp_path, f"# {number}", [Section("A", [], f"a-{number}", figure)], board=True)

    monkeypatch.setattr(page, "_write", watched)
    with futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(report, range(4)))
    found = sorted(path.name for path in (tmp_path / "report").iterdir())
    text = (tmp_path / "report" / "README.md").read_text()
    assert [name for name in found if "tfevents" not in name] == ["README.md", f"a-{text[2]}.png"]
    assert f"a-{text[2]}.png" in text and len(found) == 3
