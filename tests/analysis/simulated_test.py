"""Whether answers hold what they say, by sweeps of which the truth is known; nuisance hyperparameters are chosen."""

import math

import numpy as np
import pytest

from gnexp.analysis import answer, answer_words, comparisons, response
from gnexp.analysis.answer import BETTER, WORSE
from gnexp.space import choice, floats, integers
from gnexp.space.parse import parse_space
from gnexp.sweeps.oracles import race_plan
from tests.support import simulated

_RATE, _NORM, _SIZE = "optimizer.learning_rate", "model.norm", "data.batch_size"
_NORMS = choice("group", "batch", "layer", "none")
_RATES = {
    "the own one among them": choice(1e-4, 1e-3, 1e-2, role="nuisance"),
    "the own one beside them": choice(1e-4, 3e-3, role="nuisance"),
    "a range": floats(1e-5, 1e-1, sampling="log", role="nuisance"),
}


def _by_rate(values, epochs):
    return 0.85 - 0.02 * (math.log10(values[_RATE]) + 3) ** 2 - 0.03 / epochs


def _found(sweep):
    answered = answer.answers(sweep)
    within = comparisons.within([each.values for each in answered], sweep.space.asked)
    return [each.verdict for each in answer.differences(sweep, answered, within)]


def _false(config, sweeps, rng):
    return np.mean([bool({BETTER, WORSE} & set(_found(simulated.run(config, _by_rate, rng)))) for _ in range(sweeps)])


@pytest.mark.parametrize("sweeps", [15, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.parametrize("rates", _RATES)
@pytest.mark.parametrize("tuner", ["grid", "racing"])
def test_norms_that_do_nothing_are_found_no_better_or_worse(tuner, rates, sweeps):
    rates = _RATES[rates]
    trials = 40 if rates.type == "float" and tuner == "grid" else 12
    config = simulated.config(tuner, trials, 3, {_NORM: _NORMS, _RATE: rates})
    found = _false(config, sweeps, np.random.default_rng(1))
    assert found <= 0.05 + 3 * (0.05 * 0.95 / sweeps) ** 0.5


@pytest.mark.parametrize("sweeps", [15, pytest.param(400, marks=pytest.mark.slow)])
def test_a_race_of_many_combinations_finds_nothing_where_nothing_differs(sweeps):
    space = {_NORM: _NORMS, _SIZE: choice(8, 32, 64, 128), _RATE: _RATES["a range"]}
    config = simulated.config("racing", 30, 3, space)
    config.optimizer.learning_rate = 1e-4  # A poor one, which the config's own combination does not have alone.
    assert _false(config, sweeps, np.random.default_rng(2)) <= 0.05 + 3 * (0.05 * 0.95 / sweeps) ** 0.5


@pytest.mark.parametrize("sweeps", [15, pytest.param(400, marks=pytest.mark.slow)])
def test_where_the_best_is_the_control_all_pairs_count(sweeps):
    epsilons = choice(*(10.0**-power for power in range(1, 9)))
    config = simulated.config("grid", 8, 3, {"model.epsilon": epsilons}, own_first=False)
    config.model.epsilon, config.optimizer.learning_rate = 0.5, 1e-3
    rng, found = np.random.default_rng(3), []
    for _ in range(sweeps):
        sweep = simulated.run(config, lambda values, epochs: 0.85, rng)
        found.append(bool({BETTER, WORSE} & set(_found(sweep))))
    assert np.mean(found) <= 0.05 + 3 * (0.05 * 0.95 / sweeps) ** 0.5


def test_a_race_has_every_combination_and_as_many_settings_of_each():
    config = simulated.config(
        "racing", 12, 3, {_NORM: choice("group", "batch", "layer", "instance", "none"), _RATE: _RATES["a range"]}
    )
    sweep = simulated.run(config, _by_rate, np.random.default_rng(4))
    tried = {each.values[_NORM]: each.completed for each in answer.answers(sweep)}
    assert tried == dict.fromkeys(("group", "batch", "layer", "instance", "none"), 2)
    assert {each.values[_NORM] for each in sweep.counted if each.values[_RATE] == 1e-3} == set(tried)


def test_a_dry_run_counts_what_races_and_what_cannot():
    space = {_NORM: _NORMS, _SIZE: choice(8, 32, 64, 128), _RATE: _RATES["a range"]}
    config = simulated.config("racing", 12, 3, space)
    found = race_plan.expected(parse_space(config), config)
    assert (found.settings, found.combinations, found.fewest, found.left_out) == (12, 12, 1, 4)
    config.sweep.max_trials = 32
    found = race_plan.expected(parse_space(config), config)
    assert (found.settings, found.combinations, found.fewest, found.left_out) == (32, 16, 2, 0)


@pytest.mark.parametrize("most", [1, 2])
def test_a_race_of_a_setting_or_two_is_planned(most):
    config = simulated.config("racing", most, 3, {_NORM: choice("batch", "layer"), _RATE: _RATES["a range"]})
    assert 1 <= len(race_plan.plan(parse_space(config), config)) <= most


def test_a_range_of_whole_numbers_has_as_many_settings_as_one_of_floats():
    space = {_SIZE: integers(1, 128), _RATE: _RATES["a range"]}
    config = simulated.config("racing", 40, 3, space)
    found = race_plan.expected(parse_space(config), config)
    assert (found.combinations, found.fewest, found.left_out) == (10, 4, 0)


def test_the_own_rate_between_a_grids_points_is_every_combinations():
    config = simulated.config("racing", 60, 3, {_NORM: _NORMS, _RATE: _RATES["a range"]})
    config.optimizer.learning_rate = 5e-4
    plan = race_plan.plan(parse_space(config), config)
    assert [each[_NORM] for each in plan if each[_RATE] == 5e-4] == ["group", "batch", "layer", "none"]


def test_what_lies_beside_the_space_chooses_nothing_and_is_said():
    config = simulated.config("grid", 12, 3, {_NORM: _NORMS, _RATE: _RATES["the own one beside them"]})
    sweep = simulated.run(config, _by_rate, np.random.default_rng(5))
    assert sweep.trials[0].values == {_NORM: "group", _RATE: 1e-3} and sweep.best[0] is sweep.trials[0]
    assert {each.chosen.values[_RATE] for each in answer.answers(sweep)} == {3e-3}
    assert "The config's own values, trial 0000, lie beside what is searched" in answer_words.tell(sweep).how


def test_random_rates_are_answered_by_a_model():
    config = simulated.config("random", 12, 3, {_NORM: _NORMS, _RATE: _RATES["a range"]})
    assert "draws optimizer.learning_rate for each trial" in answer_words.modelled(config, parse_space(config))
    config.sweep.space.optimizer.learning_rate = choice(1e-3, 1e-2, role="nuisance")
    assert not answer_words.modelled(config, parse_space(config))  # All eight combinations are tried.


def test_of_two_hyperparameters_each_is_answered_by_itself():
    config = simulated.config("grid", 16, 3, {_NORM: _NORMS, _SIZE: choice(8, 32, 64, 128)})
    config.optimizer.learning_rate, config.data.batch_size = 1e-3, 128

    def truth(values, epochs):
        return 0.85 - 0.05 * (values[_SIZE] == 8)

    sweep = simulated.run(config, truth, np.random.default_rng(6))
    found = answer.by_itself(sweep, answer.answers(sweep))
    verdicts = {next(iter(each.other.values.items())): each for each in found}
    assert verdicts.keys() == {
        *((_SIZE, size) for size in (8, 32, 64)),
        *((_NORM, name) for name in ("batch", "layer", "none")),
    }
    assert {path: each.verdict for path, each in verdicts.items() if each.verdict in (BETTER, WORSE)} == {
        (_SIZE, 8): WORSE
    }
    small = verdicts[_SIZE, 8]
    assert small.mean == pytest.approx(-0.05, abs=small.interval) and small.interval < 0.01 and small.over == 4


def _modelled(config, truth, rng):
    (row,) = [row for row in response.response(simulated.run(config, truth, rng)).rows if row.difference is not None]
    return row


@pytest.mark.parametrize("sweeps", [10, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("trials", "difference"), [(20, 0.0), (20, 0.02), (60, 0.02)])
def test_the_models_interval_holds_the_truth(trials, difference, sweeps):
    space = {
        _NORM: choice("batch", "group"),
        _RATE: _RATES["a range"],
        "model.epsilon": floats(1e-8, 1e-2, sampling="log", role="nuisance"),
    }
    config, rng = simulated.config("random", trials, 1, space), np.random.default_rng(7)

    def truth(values, epochs):
        return _by_rate(values, epochs) + difference * (values[_NORM] == "group")

    found = []
    for number in range(sweeps):
        config.sweep.seed = number
        found.append(_modelled(config, truth, rng))
    held = np.mean([row.low <= difference <= row.high for row in found])
    assert held >= 0.93 - 3 * (0.05 * 0.95 / sweeps) ** 0.5
    assert np.mean([row.difference for row in found]) == pytest.approx(difference, abs=0.003)


def test_hyperband_is_answered_for_all_epochs():
    config = simulated.config(
        "hyperband", 60, 1, {_NORM: choice("batch", "group"), _RATE: _RATES["a range"]}, epochs=9, factor=3
    )

    def truth(values, epochs):  # Group normalization learns slowly, and ends better.
        slow = 0.8 if values[_NORM] == "batch" else 0.55 + 0.35 * min(1, epochs / 6)
        return slow - 0.01 * (math.log10(values[_RATE]) + 3) ** 2

    row = _modelled(config, truth, np.random.default_rng(8))
    assert row.low <= 0.1 <= row.high and row.low > 0.03
