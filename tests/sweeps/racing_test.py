"""The rule of a race against what it promises, its oracle, and a race of real trainings beside plain ones."""

import collections

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import fmnist_sweep, smoke_sweep
from gnexp.analysis import comparisons, rows
from gnexp.analysis.comparisons import Family
from gnexp.analysis.sweep import read_sweep
from gnexp.config.paths import flatten
from gnexp.data.load import load
from gnexp.space import by, choice, floats
from gnexp.space.parse import parse_space
from gnexp.sweeps.oracles import race, race_looks, race_plan
from gnexp.sweeps.oracles.race import Race, Setting
from gnexp.training.run import train
from gnexp.workdir import files, result
from gnexp.workdir.folder import opened
from tests.support.sweeps import TOO_FAST, run, tiny

pytestmark = pytest.mark.any_backend


def _raced(asked, settings, score, slots=1):
    """Runs a race, as many trainings at a time as there are slots, and returns its steps."""
    steps, running = [], []
    while True:
        while len(running) < slots and (step := race.following(asked, settings)):
            steps.append(step)
            running.append(step)
            settings[step.setting].busy = True
        if not running:
            return steps
        step = running.pop(0)
        settings[step.setting].busy = False
        value = score(step)
        if value is None:
            settings[step.setting].failed = True
        else:
            settings[step.setting].scores[step.seed, step.epochs] = value


def _two(seeds=5, precision=1e-6, epochs=4):
    return Race(epochs, seeds, precision, 1, [Family(0, (0, 1))])


def test_the_worse_half_is_dropped_after_half_of_the_epochs():
    settings = [Setting(0) for _ in range(4)] + [Setting(1) for _ in range(4)]
    steps = _raced(_two(seeds=1), settings, lambda step: step.setting / 10)
    assert [(step.setting, step.epochs) for step in steps[:8]] == [(place, 2) for place in range(8)]
    assert {(step.setting, step.epochs) for step in steps[8:]} == {(place, 4) for place in (2, 3, 6, 7)}


@pytest.mark.parametrize("sign", [1, -1])
def test_seeds_are_added_until_the_difference_is_decided(sign):
    noise = np.random.default_rng(0).normal(0, 0.01, (2, 8))
    asked = Race(4, 8, 1e-6, sign, [Family(0, (0, 1))])
    for gap, few in ((0.2, True), (0.03, False)):
        settings = [Setting(0), Setting(1)]
        steps = _raced(asked, settings, lambda step: gap * step.setting + noise[step.setting, step.seed])  # noqa: B023
        assert (max(step.seed for step in steps) < 3) is few


def test_what_is_closer_than_the_precision_gets_no_more_seeds():
    noise = np.random.default_rng(0).normal(0, 0.001, (2, 8))
    steps = {
        precision: _raced(
            _two(8, precision), [Setting(0), Setting(1)], lambda step: noise[step.setting, step.seed] / 10
        )
        for precision in (0.01, 1e-9)
    }
    assert max(step.seed for step in steps[0.01]) == 1
    assert max(step.seed for step in steps[1e-9]) >= 1


def test_a_lucky_first_seed_does_not_choose():
    lucky = {(0, 0): 0.9, (1, 0): 0.85, (2, 0): 0.8}

    def score(step):
        return lucky.get((step.setting, step.seed), (0.7, 0.85, 0.8)[step.setting])

    settings = [Setting(0), Setting(0), Setting(1)]
    _raced(Race(1, 6, 1e-6, 1, [Family(1, (0, 1))]), settings, score)
    assert race.chosen(race.finals(Race(1, 6, 0.01, 1, ()), {0: settings[0], 1: settings[1]})) == 1


def test_a_dropped_setting_returns_if_the_better_half_turns_out_worse():
    def score(step):
        return {0: 0.9 if step.seed == 0 else 0.1, 1: 0.8, 2: 0.85}[step.setting]

    settings = [Setting(0), Setting(0), Setting(1)]
    steps = _raced(Race(4, 5, 0.01, 1, [Family(1, (0, 1))]), settings, score)
    assert (1, 4) in {(step.setting, step.epochs) for step in steps}


def test_no_worker_waits_in_the_first_part_and_failures_leave_the_race():
    settings = [Setting(place % 2) for place in range(12)]
    waited = []

    def score(step):
        waited.append(sum(each.busy for each in settings))
        return None if step.setting == 5 else step.setting / 10

    steps = _raced(_two(seeds=1), settings, score, slots=4)
    assert set(waited[:12]) == {3} and [step.setting for step in steps].count(5) == 1
    assert {5} == {place for place, each in enumerate(settings) if each.failed}


def _false_findings(races, seeds, comparisons, rng):
    """Returns the share of races without any difference in which one is decided at some look."""
    wrong = 0
    for _ in range(races):
        figures = rng.normal(0, rng.uniform(0.5, 2, (comparisons + 1, 1)), (comparisons + 1, seeds))
        pairs = [(0, other) for other in range(1, comparisons + 1)]
        wrong += any(
            look.decided
            for count in range(2, seeds + 1)
            for look in race_looks.looks(dict(enumerate(figures[:, :count])), pairs, seeds, 1e-9)
        )
    return wrong / races


@pytest.mark.parametrize(("seeds", "comparisons"), [(5, 1), pytest.param(4, 6, marks=pytest.mark.slow)])
def test_looking_after_each_seed_finds_few_differences_that_are_none(seeds, comparisons):
    races = 300
    # Three standard errors above 5%.
    assert (
        _false_findings(races, seeds, comparisons, np.random.default_rng(1)) <= 0.05 + 3 * (0.05 * 0.95 / races) ** 0.5
    )


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "comparisons"), [(2, 1), (3, 1), (5, 1), (10, 1), (3, 4), (5, 4), (5, 20)])
def test_the_looks_of_a_race_err_in_no_more_than_five_percent(seeds, comparisons):
    found = _false_findings(10_000, seeds, comparisons, np.random.default_rng(2))
    print(f"{seeds} seeds, {comparisons} comparisons: {found:.4f}")
    assert found <= 0.05 + 3 * (0.05 * 0.95 / 10_000) ** 0.5


def _config(**entries):
    config = fmnist_sweep.get_config()
    config.sweep.tuner, config.sweep.max_trials = "racing", 24
    config.sweep.space = ConfigDict({"model": {}, "data": {}, "optimizer": {}})
    for path, entry in entries.items():
        section, key = path.split("__")
        config.sweep.space[section][key] = entry
    return config


def test_the_configs_own_values_begin_and_then_each_combination_in_turn():
    rates = choice(1e-4, 1e-3, 1e-2, role="nuisance")
    config = _config(model__groups=choice(1, 2, 8), optimizer__learning_rate=rates)
    found = race_plan.plan(parse_space(config), config)
    assert found[0] == {"model.groups": 8, "optimizer.learning_rate": 1e-3} and len(found) == 9
    assert [values["model.groups"] for values in found[1:4]] == [1, 2, 8]


@pytest.mark.parametrize("groups", [choice(1, 2, 4, 8), floats(1e-6, 1e-3, sampling="log")])
def test_a_range_is_drawn_with_as_many_settings_for_each_combination(groups):
    rates = by("optimizer.name", role="nuisance", adam=floats(1e-4, 1e-2, sampling="log"), sgd=floats(0.01, 1.0))
    config = _config(
        model__epsilon=groups if groups.type == "float" else floats(1e-6, 1e-6),
        model__groups=groups if groups.type == "choice" else choice(8),
        optimizer__name=choice("adam", "sgd", role="nuisance"),
        optimizer__learning_rate=rates,
    )
    space = parse_space(config)
    found = race_plan.plan(space, config)
    # The config's own optimizer, amsgrad, is not searched: this setting is beside the race.
    assert found[0] == space.aside(config)
    assert 20 < len(found) <= 24 and len(found) == len({race_plan.key(values) for values in found})
    counts = collections.Counter(race_plan.combination(space.asked, values) for values in found[1:])
    assert set(counts.values()) == {5 if groups.type == "choice" else 4}
    for values in found[1:]:
        low, high = {"adam": (1e-4, 1e-2), "sgd": (0.01, 1.0)}[values["optimizer.name"]]
        assert low <= values["optimizer.learning_rate"] <= high


def test_a_race_trains_what_plain_trainings_do_and_counts_each_setting_once(tmp_path):
    config = tiny(
        "racing",
        executions=3,
        epochs=2,
        optimizer={"learning_rate": choice(1e-4, 1e-2, TOO_FAST, role="nuisance")},
    )
    config.sweep.own_first = True
    found = run(config, tmp_path)
    sweep = read_sweep(tmp_path)
    assert sweep.trials == found
    assert {each.status for each in found if each.values["optimizer.learning_rate"] == TOO_FAST} == {"failed"}
    several = [each for each in sweep.counted if len(each.results) > 1]
    assert several and sweep.best[0] in several
    keys = [race_plan.key(each.values) for each in sweep.counted]
    assert len(keys) == len(set(keys)) == 4  # three of the grid, and the config's own
    for seed, done in enumerate(several[0].results):
        alone = parse_space(config).config(sweep.config, several[0].values)
        alone.seed = config.seed + seed
        with opened(tmp_path / f"alone-{seed}", alone) as plain:
            straight = train(plain, load(plain.data), tmp_path / f"alone-{seed}")
        assert [epoch["val_accuracy"] for epoch in done.history] == [
            epoch["val_accuracy"] for epoch in straight.history
        ]
        assert done.test["accuracy"] == straight.test["accuracy"]

    best, name = rows.best_training(tmp_path)
    assert name == sweep.best[0].trial_id and (best / files.MODEL).is_file()
    for row in rows.read(tmp_path):
        trial, seed = row.which["trial"], row.which["seed"]
        assert seed is None or result.finished(files.execution_folder(files.trial_folder(tmp_path, trial), seed))
    assert run(config, tmp_path) == found


def test_what_the_config_lacks_can_be_searched():
    config = smoke_sweep.get_config()
    config.sweep.space = ConfigDict({"data": {"augment": {"random_rotation": {"factor": choice(0.0, 0.1)}}}})
    space = parse_space(config)
    assert space.own(config) is None
    assert [each["data.augment.random_rotation.factor"] for each in race_plan.plan(space, config)] == [0.0, 0.1]
    (family,) = comparisons.families(race_plan.plan(space, config), flatten(config), None)
    assert family == Family(None, (0, 1))
