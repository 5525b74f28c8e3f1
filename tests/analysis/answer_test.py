"""What a sweep answers: choices, intervals and differences against SciPy's, and what is said if there are none."""

import itertools
import math
import re

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import stats

from gnexp.analysis import answer, comparisons, effects, intervals, response
from gnexp.analysis.answer import Answer, Difference
from gnexp.analysis.intervals import holm
from gnexp.analysis.sweep import read_sweep
from gnexp.space import boolean, by, choice, floats, integers
from gnexp.space.domain import Entry
from tests.support.pages import page, section, sweep, table, trial

pytestmark = [pytest.mark.any_backend, pytest.mark.usefixtures("undrawn")]

HEADING = "What the sweep asks"
RATES = (1e-4, 1e-3, 1e-2)


@pytest.fixture
def norms(tmp_path, figures):
    """Gives a page, its picture, and the scores and test accuracies by norm, batch size and learning rate.

    At batch size 1 batch normalization fails altogether.
    """
    space = {
        "model.norm": choice("group", "batch"),
        "data.batch_size": choice(1, 8, 64),
        "optimizer.learning_rate": choice(*RATES, role="nuisance"),
    }
    directory = sweep(tmp_path / "sweep", space, tuner="grid", executions=4)
    rng, had = np.random.default_rng(3), {}
    for number, (norm, size, rate) in enumerate(itertools.product(("group", "batch"), (1, 8, 64), RATES)):
        values = {"model.norm": norm, "data.batch_size": size, "optimizer.learning_rate": rate}
        if (norm, size) == ("batch", 1):
            trial(directory, number, values, status="FAILED", message="DivergedError: the loss is NaN")
            continue
        # The test set would choose differently from the validation set: the highest rate is its best.
        scores = (0.8 - 0.05 * abs(np.log10(rate) + 3) + 0.02 * (norm == "group") + rng.normal(0, 0.002, 4)).tolist()
        tests = (0.7 + 5 * rate + 0.03 * (norm == "group") * (size > 1) + rng.normal(0, 0.01, 4)).tolist()
        trial(directory, number, values, scores, tests=tests)
        had[norm, size, rate] = scores, tests
    return page(directory), figures[0], had


def test_the_validation_set_chooses_and_the_test_set_is_only_shown(norms):
    text, _, had = norms
    rows = {(row["model.norm"], row["data.batch_size"]): row for row in table(text, HEADING)}
    for (norm, size), row in rows.items():
        if (norm, size) == ("batch", "1"):
            assert (row["test accuracy"], row["trials"], row["failed"]) == ("", "0", "3")
            continue
        scores, tests = had[norm, int(size), 1e-3]
        assert row["optimizer.learning_rate, chosen"] == "0.001"
        for name, figures, place in (("val_accuracy", scores, 0), ("test accuracy", tests, 1)):
            mean, half = map(float, row[name].split(" ± "))
            assert mean == pytest.approx(np.mean(figures), abs=1e-4)
            every = np.array([each[place] for each in had.values()])
            # The reference: what trials and seeds add, the variances of the trials taken as one.
            residuals = every - every.mean(axis=1, keepdims=True) - (every.mean(axis=0) - every.mean())
            own = (residuals**2).sum() / residuals.size
            deviation = ((own + np.var(every.mean(axis=0), ddof=1)) / 4) ** 0.5
            assert half == pytest.approx(stats.t.ppf(0.975, 20) * deviation, rel=0.5)
        assert (row["seeds"], row["trials"], row["failed"]) == ("4", "3", "")
    assert len(rows) == 6
    assert "The test set chose nothing" in section(text, HEADING)
    assert "edge" not in section(text, HEADING)


def test_the_differences_are_paired_and_corrected_for_their_number(norms):
    text, _, had = norms
    rows, alone = table(text, HEADING, 1)[:2], table(text, HEADING, 1)[2:]
    assert "at each data.batch_size: the difference" in section(text, HEADING)
    assert "correction for their number, 2." in section(text, HEADING)
    # The reference: the residuals of a model with an effect of each trial and of each seed, over all trials.
    tests = np.array([tests for _, tests in had.values() if len(tests) == 4])
    residuals = tests - tests.mean(axis=1, keepdims=True) - (tests.mean(axis=0) - tests.mean())
    freedom = 3 * (len(tests) - 1)
    pooled = (2 * (residuals**2).sum() / freedom / 4) ** 0.5
    for row, size in zip(rows, (8, 64), strict=True):
        difference = np.subtract(had["batch", size, 1e-3][1], had["group", size, 1e-3][1])
        mean, half = map(float, row["other minus control"].split(" ± "))
        assert row["control"] == f"data.batch_size={size}  model.norm=group"
        assert mean == pytest.approx(difference.mean(), abs=1e-4)
        # Shrunk: the variances of the trials count as well.
        assert half == pytest.approx(stats.t.ppf(0.975, freedom) * pooled, rel=0.5)
    # By itself: at batch size 1 only one norm has completed, so that there is no mean of batch sizes.
    assert [(row["control"], row["other"]) for row in alone] == [("model.norm=group", "model.norm=batch (mean over 2)")]
    mean, half = map(float, alone[-1]["other minus control"].split(" ± "))
    differences = [np.subtract(had["batch", size, 1e-3][1], had["group", size, 1e-3][1]) for size in (8, 64)]
    assert mean == pytest.approx(np.mean(differences), abs=1e-4)
    assert half == pytest.approx(stats.t.ppf(0.975, freedom) * pooled / 2**0.5, rel=0.5)


@pytest.mark.parametrize("apart", [0.01, 0.3])
def test_what_stays_open_is_told_how_many_seeds_it_takes(tmp_path, apart):
    directory = sweep(tmp_path / "sweep", {"model.norm": choice("group", "batch")}, tuner="grid", executions=3)
    tests = np.add([[0.70, 0.72, 0.71], [0.70, 0.71, 0.73]], [[0], [apart]])
    for number, (norm, figures) in enumerate(zip(("group", "batch"), tests.tolist(), strict=True)):
        trial(directory, number, {"model.norm": norm}, figures, tests=figures)
    said = section(page(directory), HEADING)
    differences = tests[1] - tests[0]
    if apart > 0.1:
        assert "stays open" not in said
        return
    assert f"The largest difference that stays open is {differences.mean():.2g}: " in said
    seeds = int(re.search(r"about (\d+) seeds each", said)[1])
    # Of a paired t test with as many seeds, by the noncentral t distribution.
    size = differences.mean() / differences.std(ddof=1)
    powers = [stats.nct.sf(stats.t.ppf(0.975, count - 1), count - 1, size * count**0.5) for count in (seeds - 1, seeds)]
    assert powers[0] < 0.8 <= powers[1]


@pytest.mark.parametrize(
    ("mean", "interval", "p", "verdict"),
    [
        (-0.02, 0.01, 0.04, "worse"),
        (0.02, 0.01, 0.04, "better"),
        (-0.02, 0.01, 0.06, "inside the noise after Holm's correction"),
        (0.02, 0.021, 0.06, "inside the noise"),
        (-0.02, 0.0, 1.0, "no spread among the seeds to judge by"),
    ],
)
def test_a_verdict_is_of_interval_and_p(mean, interval, p, verdict):
    nothing = Answer({}, 0, 0, None, (), "accuracy")
    assert Difference(nothing, nothing, mean, interval, p, 0.05, mean > 0).verdict == verdict


def test_all_are_compared_with_the_configs_own_even_where_another_is_best(tmp_path):
    space = {"model.groups": choice(1, 2, 8), "model.epsilon": choice(1e-6, 1e-3), "data.batch_size": choice(4, 8, 16)}
    directory = sweep(tmp_path / "sweep", space, tuner="grid", executions=3, **{"model.groups": 2})
    for number, values in enumerate(itertools.product(*(entry["values"] for entry in space.values()))):
        groups, epsilon, size = values
        status = "FAILED" if size == 16 and groups == 2 else "COMPLETED"
        tests = (0.5 + groups / 10 + epsilon, 0.53 + groups / 11, 0.51 + groups / 9)
        trial(directory, number, dict(zip(space, values, strict=True)), tests, status, tests=tests)
    text = page(directory)
    assert "(where no trial with these is compared, against the best by val_accuracy, and p is for all" in section(
        text, HEADING
    )
    rows, alone = table(text, HEADING, 1)[: 5 + 5 + 3], table(text, HEADING, 1)[5 + 5 + 3 :]
    assert "correction for their number, 16." in section(text, HEADING)  # 5, 5, and all 6 pairs of four
    assert sorted(row["control"] for row in alone) == ["data.batch_size=16"] * 2 + [
        "model.epsilon=1e-06",
        *["model.groups=2"] * 2,
    ]
    own = {size: f"data.batch_size={size}  model.epsilon=1e-06  model.groups=2" for size in (4, 8)}
    best = "data.batch_size=16  model.epsilon=0.001  model.groups=8"
    assert [row["control"] for row in rows] == [own[4]] * 5 + [own[8]] * 5 + [best] * 3
    assert {row[""] for row in rows if "groups=8" in row["other"] and "=16" not in row["other"]} == {"better"}
    assert {row[""] for row in rows if "groups=1" in row["other"]} == {"worse"}


def test_what_is_on_or_off_is_itself_compared():
    paths = ("model.args.zero_gamma", "optimizer.decay_norms")
    switches = [dict(zip(paths, values, strict=True)) for values in itertools.product((False, True), repeat=2)]
    assert comparisons.within(switches, paths) is None
    (family,) = comparisons.families(switches, dict.fromkeys(paths, False), None)
    assert (family.control, family.members) == (0, (0, 1, 2, 3))
    sizes = [{**each, "data.batch_size": size} for each in switches for size in (4, 8)]
    assert comparisons.within(sizes, (*paths, "data.batch_size")) == "data.batch_size"


def test_the_picture_has_a_line_for_each_norm_and_says_what_failed(norms):
    text, figure, had = norms
    rows = {(row["model.norm"], row["data.batch_size"]): row["test accuracy"] for row in table(text, HEADING)}
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "8", "64"]
    np.testing.assert_allclose(axes.get_xticks(), np.log10([1, 8, 64]))
    lines = {container.get_label(): container for container in axes.containers}
    assert set(lines) == {"group", "batch"}
    for norm, sizes in (("group", (1, 8, 64)), ("batch", (8, 64))):
        errors = [100 * (1 - np.array(had[norm, size, 1e-3][1])) for size in sizes]
        line, _, (bars,) = lines[norm]
        np.testing.assert_allclose(line.get_ydata(orig=False), [np.mean(each) for each in errors])
        for bar, size in zip(bars.get_segments(), sizes, strict=True):
            accuracy, half = map(float, rows[norm, str(size)].split(" ± "))
            ends = [100 * (1 - accuracy - half), 100 * (1 - accuracy + half)]
            np.testing.assert_allclose(bar[:, 1], ends, atol=0.011)  # rounded
    assert [text.get_text() for text in axes.texts] == ["failed"]


def test_a_legend_of_long_names_stays_within_the_picture(drawn, tmp_path, figures):
    names = ("model.weight_standardization", "optimizer.decay_norms", "optimizer.nesterov")
    space = {name: boolean() for name in names}
    directory = sweep(tmp_path / "sweep", space, tuner="grid", executions=2)
    for number, values in enumerate(itertools.product((False, True), repeat=3)):
        trial(directory, number, dict(zip(space, values, strict=True)), (0.8, 0.81))
    page(directory)
    renderer = FigureCanvasAgg(figures[0]).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figures[0].legends[0].get_texts()]
    assert len(boxes) == 4 and all(0 <= box.x0 <= box.x1 <= figures[0].bbox.x1 for box in boxes)


def test_an_answer_far_above_the_others_does_not_flatten_them(tmp_path, figures):
    directory = sweep(tmp_path / "sweep", {"model.epsilon": choice(1e-6, 1.0, 1e4)}, tuner="grid", executions=2)
    for number, (epsilon, test) in enumerate(((1e-6, 0.9), (1.0, 0.91), (1e4, 0.8))):
        trial(directory, number, {"model.epsilon": epsilon}, (test,) * 2, tests=(test, test + 0.02))
    page(directory)
    (axes,) = figures[0].axes
    low, high = axes.get_ylim()
    assert 4 < low < 5 and 12 < high < 13
    assert [text.get_text() for text in axes.texts] == ["19"]
    assert axes.texts[0].get_position()[0] == axes.get_xticks()[2] == 4


def test_a_choice_at_the_edge_is_said(tmp_path):
    rates = floats(1e-5, 1e-1, sampling="log")
    space = {
        "optimizer.name": choice("adam", "sgd", "lion"),
        "optimizer.learning_rate": by("optimizer.name", role="nuisance", adam=rates, sgd=choice(0.1, 0.2, 0.3)),
        "optimizer.nesterov": boolean(role="nuisance"),
    }
    directory = sweep(tmp_path / "sweep", space, tuner="grid", executions=2)
    tried = [("adam", 0.05, 0.7), ("adam", 0.001, 0.6), ("sgd", 0.2, 0.8), ("sgd", 0.1, 0.5), ("lion", None, 0.6)]
    for number, (name, rate, score) in enumerate(tried):
        values = {"optimizer.name": name, "optimizer.nesterov": True}
        trial(directory, number, values | ({"optimizer.learning_rate": rate} if rate else {}), (score, score + 0.01))
    text = page(directory)
    rows = {row["optimizer.name"]: row for row in table(text, HEADING)}
    assert {name: row["optimizer.learning_rate, chosen"] for name, row in rows.items()} == {
        "adam": "0.05 (edge)",
        "lion": "",
        "sgd": "0.2",
    }
    assert "**At an edge of what was searched, which should be widened there: 1 of 3 choices.**" in section(
        text, HEADING
    )
    assert "**They had 1 to 2 trials each**" in section(text, HEADING)


@pytest.mark.parametrize(
    ("entry", "chosen", "edge"),
    [
        (choice(-0.5, 0.0, 0.5), 0.0, False),
        (choice(-0.5, 0.0, 0.5), 0.5, True),
        (integers(1, 10, step=4), 9, True),
        (integers(1, 10, step=4), 5, False),
    ],
)
def test_an_edge_is_the_last_value_that_there_is(entry, chosen, edge):
    searched = Entry("model.args.l2", entry.type, "nuisance", **_domain(entry))
    assert answer._at_edge(searched, {"model.args.l2": chosen}) == edge


def _domain(entry):
    if entry.type == "choice":
        return {"values": entry["values"]}
    return {"low": entry.min_value, "high": entry.max_value, "step": entry.step, "sampling": entry.sampling}


def test_values_of_several_types_are_in_order_and_none_is_not_absence(tmp_path):
    space = {"model.norm": choice("group", "batch")}
    directory = sweep(tmp_path / "sweep", space, tuner="grid", executions=2)
    for number, norm in enumerate(("group", "batch", None, 3)):
        trial(directory, number, {"model.norm": norm}, (0.8, 0.81))
    found = read_sweep(directory)
    assert [each.values for each in answer.answers(found)] == [
        {"model.norm": value} for value in (3, None, "batch", "group")
    ]
    assert {level.name for level in effects.effects(found.config, found.space, found.counted)[0].levels} == {
        *("3", "None", "batch", "group")
    }


def test_a_race_says_that_it_has_not_ended(tmp_path):
    directory = sweep(tmp_path / "sweep", {"model.norm": choice("group", "batch")}, tuner="racing", executions=10)
    for number, norm in enumerate(("group", "batch")):
        values = {"model.norm": norm, "tuner/seed": 0, "tuner/epochs": 2, "tuner/initial_epoch": 0}
        trial(directory, number, values, (0.8,))
    assert "**The race has not ended**: choices and verdicts may change." in page(directory)


def test_a_difference_that_is_open_takes_more_seeds_than_there_are():
    always = {"difference": 1.0, "variance": 1e-6, "freedom": 5, "level": lambda seeds: np.full(len(seeds), 0.05)}
    assert (intervals.seeds_needed(**always), intervals.seeds_needed(**always, fewest=4)) == (2, 4)


@pytest.mark.parametrize(
    ("mean", "half", "bounds", "said"),
    [
        (3.1e-5, 2e-6, (0, math.inf), "3.1e-05 \N{PLUS-MINUS SIGN} 2e-06"),
        (0.00031, 0.00002, (0, math.inf), "0.0003 \N{PLUS-MINUS SIGN} 0.0000"),
        (2.5e38, 1e37, (0, math.inf), "2.5e+38 \N{PLUS-MINUS SIGN} 1e+37"),
        (0.00001, 0.0, (0, 1), "0.0000 \N{PLUS-MINUS SIGN} 0.0000"),
    ],
)
def test_a_loss_of_any_size_has_digits(mean, half, bounds, said):
    assert intervals.with_spread(mean, half, bounds) == said


def test_a_value_of_ones_own_outside_of_a_logarithmic_range_is_at_its_edge(tmp_path):
    decay = floats(1e-6, 1e-2, sampling="log", role="nuisance")
    directory = sweep(
        tmp_path / "sweep", {"model.norm": choice("group", "batch"), "optimizer.weight_decay": decay}, tuner="grid"
    )
    for number, (norm, own) in enumerate(itertools.product(("group", "batch"), (0.0, 1e-4))):
        trial(directory, number, {"model.norm": norm, "optimizer.weight_decay": own}, [0.9 - own])
    assert {row["optimizer.weight_decay, chosen"] for row in table(page(directory), HEADING)} == {"0 (edge)"}


def test_minus_one_group_is_an_edge_beyond_all_others(tmp_path):
    for best, edge in ((-1, " (edge)"), (1, " (edge)"), (8, "")):
        space = {"data.batch_size": choice(4, 8), "model.groups": choice(-1, 1, 8, role="nuisance")}
        directory = sweep(tmp_path / str(best), space, tuner="grid")
        for number, (size, groups) in enumerate(itertools.product((4, 8), (-1, 1, 8))):
            values = {"data.batch_size": size, "model.groups": groups}
            trial(directory, number, values, (0.6 if groups == best else 0.5,))
        rows = table(page(directory), HEADING)
        assert [row["model.groups, chosen"] for row in rows] == [f"{best}{edge}"] * 2


def test_what_lacks_a_hyperparameter_is_drawn_and_compared_as_well(tmp_path, figures):
    space = {"model.norm": choice("group", "none"), "model.groups": by("model.norm", group=choice(1, 8))}
    directory = sweep(tmp_path / "sweep", space, tuner="grid", executions=3, **{"model.groups": 8})
    for number, (values, tests) in enumerate(
        (
            ({"model.norm": "group", "model.groups": 1}, (0.5, 0.51, 0.52)),
            ({"model.norm": "group", "model.groups": 8}, (0.6, 0.61, 0.63)),
            ({"model.norm": "none"}, (0.7, 0.72, 0.73)),
        )
    ):
        trial(directory, number, values, tests, tests=tests)
    text = page(directory)
    rows = table(text, HEADING, 1)
    assert [(row["control"], row["other"]) for row in rows] == [
        ("model.norm=group  model.groups=8", "model.norm=group  model.groups=1"),
        ("model.norm=group  model.groups=8", "model.norm=none"),
    ]
    assert "where no trial with these completed" not in section(text, HEADING)
    (axes,) = figures[0].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["group", "none"]
    assert sum(len(container.lines[0].get_xdata()) for container in axes.containers) == 3


def test_a_sweep_whose_trials_have_no_value_of_it_yet_has_a_page(tmp_path):
    space = {
        "optimizer.name": choice("adam", "sgd", role="nuisance"),
        "optimizer.momentum": by("optimizer.name", sgd=choice(0.5, 0.9)),
    }
    directory = sweep(tmp_path / "sweep", space, tuner="grid")
    trial(directory, 0, {"optimizer.name": "adam"}, (0.5,))
    assert section(page(directory), HEADING).strip().startswith("Left out: none of the trials that have ended")
    for number, momentum in enumerate((0.5, 0.9), 1):
        trial(directory, number, {"optimizer.name": "sgd", "optimizer.momentum": momentum}, (0.4,))
    assert len(table(page(directory), HEADING)) == 3


@pytest.mark.parametrize(
    ("space", "tuner", "why"),
    [
        ({"model.groups": choice(1, 2, role="nuisance")}, "grid", "nothing that is searched is scientific"),
        ({"model.groups": choice(1, 2, 4)}, "grid", "no trial has completed yet"),
    ],
)
def test_where_it_would_be_unfair_it_is_left_out(tmp_path, space, tuner, why):
    directory = sweep(tmp_path / "sweep", space, tuner=tuner)
    if "no trial" not in why:
        trial(directory, 0, dict.fromkeys(space, 1), (0.5,))
    assert section(page(directory), HEADING).strip().startswith(f"Left out: {why}")
    assert not (directory / "report" / "answer.png").exists()


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_a_range_and_any_tuner_are_answered_by_a_model_where_it_holds(tmp_path, figures, tuner):
    rng, lines, pictures = np.random.default_rng(0), {}, {}
    for name, slope in (("holds", 0.05), ("noise", 0.0)):
        space = {"model.epsilon": floats(1e-7, 1e-2, sampling="log"), "optimizer.name": choice("adam", "sgd")}
        directory = sweep(tmp_path / name, space, tuner=tuner)
        for number in range(40):
            epsilon = 10 ** rng.uniform(-7, -2)
            sgd = number % 2
            score = 0.8 - slope * (math.log10(epsilon) + 7) / 5 - (0.1 if slope else 0) * sgd + rng.normal(0, 0.005)
            values = {"model.epsilon": epsilon, "optimizer.name": ("adam", "sgd")[sgd]}
            trial(directory, number, values, (score,))
        drawn = len(figures)
        text = page(directory)
        lines[name], pictures[name] = table(text, HEADING), figures[drawn:]
        assert (directory / "report" / "answer.png").exists() is (name == "holds")
        assert ("No model holds" in section(text, HEADING)) is (name == "noise")
    found = [row["difference, by the model"] for row in lines["holds"]]
    sgd = next(row for row in lines["holds"] if row["value"] == "sgd")["difference, by the model"]
    mean, low, high = (float(part) for part in re.findall(r"[-+][0-9.]+", sgd))
    assert low <= mean <= high < 0 and mean == pytest.approx(-0.1, abs=0.02)
    highest = [row for row in lines["holds"] if row["hyperparameter"] == "model.epsilon"][-1]
    assert float(highest["difference, by the model"].split()[0]) == pytest.approx(-0.0375, abs=0.015)
    assert len(found) == 6 and not any(row["difference, by the model"] for row in lines["noise"])

    epsilons, names = pictures["holds"][0].axes
    assert [axes.get_title() for axes in (epsilons, names)] == ["model.epsilon", "optimizer.name"]
    dots, curve = epsilons.lines
    assert epsilons.get_xscale() == "log" and len(dots.get_xdata()) == 40 and len(curve.get_xdata()) == 24
    assert {curve.get_xdata()[0], curve.get_xdata()[-1]} == {dots.get_xdata().min(), dots.get_xdata().max()}
    truth = 0.75 - 0.01 * (np.log10(curve.get_xdata()) + 7)  # on average over the optimizers
    np.testing.assert_allclose(curve.get_ydata(), truth, atol=0.012)
    band = epsilons.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() < curve.get_ydata().min() and band.max() > curve.get_ydata().max()
    adam, sgd = names.containers[0].lines[0].get_ydata()
    assert sgd - adam == pytest.approx(mean, abs=1e-4)  # rounded in the table
    assert len(pictures["noise"]) == len(pictures["holds"]) - 2  # no importance, either


def test_a_model_of_many_trials_is_asked_about_all_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(response, "_MOST", 40)
    space = {"model.epsilon": floats(1e-7, 1e-2, sampling="log"), "optimizer.name": choice("adam", "sgd")}
    directory, rng = sweep(tmp_path / "sweep", space, tuner="random"), np.random.default_rng(0)
    for number in range(200):  # Only with sgd does epsilon matter, and sgd is always worse.
        epsilon, name = 10 ** rng.uniform(-7, -2), ("adam", "sgd")[number % 2]
        score = 0.9 if name == "adam" else 0.6 - 0.05 * (math.log10(epsilon) + 7)
        trial(directory, number, {"model.epsilon": epsilon, "optimizer.name": name}, (score + rng.normal(0, 0.005),))
    found = response.response(read_sweep(directory))
    (epsilons, _) = found.curves
    assert np.mean(epsilons.means) == pytest.approx((0.9 + 0.6 - 0.125) / 2, abs=0.02)
    assert epsilons.means[-1] - epsilons.means[0] == pytest.approx(-0.125, abs=0.04)


@pytest.mark.parametrize("entry", [choice(0.5, 0.9), floats(0.5, 0.9)])
def test_what_no_completed_trial_has_leaves_no_curve(tmp_path, entry):
    space = {
        "optimizer.learning_rate": floats(1e-4, 1e-1, sampling="log"),
        "optimizer.name": choice("adam", "sgd"),
        "optimizer.momentum": by("optimizer.name", sgd=entry),
    }
    directory, rng = sweep(tmp_path / "sweep", space, tuner="random"), np.random.default_rng(0)
    for number in range(40):
        values = {"optimizer.learning_rate": 10 ** rng.uniform(-4, -1), "optimizer.name": "adam"}
        if number % 4:
            score = 0.9 - 0.1 * math.log10(values["optimizer.learning_rate"])
            trial(directory, number, values, (score + rng.normal(0, 0.01),))
        else:
            values |= {"optimizer.name": "sgd", "optimizer.momentum": 0.5}
            trial(directory, number, values, status="FAILED", message="DivergedError: the loss is NaN")
    assert "optimizer.momentum" in section(page(directory), HEADING)
    assert [curve.path for curve in response.response(read_sweep(directory)).curves] == [
        "optimizer.learning_rate",
        "optimizer.name",
    ]


def test_one_seed_says_nothing_of_differences_and_minus_one_group_comes_last(tmp_path, figures):
    directory = sweep(
        tmp_path / "sweep", {"model.groups": choice(-1, 1, 2)}, tuner="grid", **{"data.validation": "test"}
    )
    for number, groups in enumerate((-1, 1, 2)):
        trial(directory, number, {"model.groups": groups}, (0.5 + 0.01 * number,))
    said = section(page(directory), HEADING)
    assert "There is nothing to compare with an interval" in said
    assert "**The choice was made on the test set**" in said
    assert "±" not in said
    assert [label.get_text() for label in figures[0].axes[0].get_xticklabels()] == ["1", "2", "-1"]


def test_holm_is_by_the_book():
    # Holm (1979), as R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") gives it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1, 1]
    assert holm([]) == []


def test_differences_without_a_spread_are_not_judged(tmp_path):
    directory = sweep(
        tmp_path / "sweep", {"model.groups": choice(1, 2, 4)}, tuner="grid", executions=3, **{"model.groups": 1}
    )
    # In floats 0.8 - 0.7 is not 0.4 - 0.3.
    for number, (groups, tests) in enumerate({1: (0.8, 0.4, 0.6), 2: (0.8, 0.4, 0.6), 4: (0.7, 0.3, 0.5)}.items()):
        trial(directory, number, {"model.groups": groups}, (0.9 - 0.1 * number,) * 3, tests=tests)
    swept = read_sweep(directory)
    found = answer.answers(swept)
    same, lower = answer.differences(swept, found, None)
    assert (same.mean, same.interval, same.p, same.verdict) == (0, 0, 1, answer.NO_SPREAD)
    assert lower.mean == pytest.approx(-0.1)
    assert (lower.interval, lower.p, lower.verdict) == (0, 1, answer.NO_SPREAD)
    assert [row["p"] for row in table(page(directory), HEADING, 1)] == ["", ""]


def test_a_sweep_that_goes_on_says_how_far_it_is(tmp_path):
    space = {"model.groups": choice(1, 2, 4), "optimizer.learning_rate": choice(*RATES, role="nuisance")}
    directory = sweep(tmp_path / "sweep", space, tuner="grid", executions=2)
    for number, (groups, rate) in enumerate(itertools.product((1, 2, 4), RATES)):
        if number == 4:
            assert "**4 of 9 trials have ended so far**" in section(page(directory), HEADING)
        values = {"model.groups": groups, "optimizer.learning_rate": rate}
        trial(directory, number, values, (0.5 + 0.01 * number, 0.5))
    assert "so far" not in section(page(directory), HEADING)
