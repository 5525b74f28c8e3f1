"""keras-tuner's defects, shown on keras-tuner itself, and that the durable oracles do not have them."""

import io
import json
import math
import pathlib

import keras_tuner
import numpy as np
import pytest
from keras_tuner.oracles import BayesianOptimizationOracle, GridSearchOracle, HyperbandOracle, RandomSearchOracle
from ml_collections import ConfigDict

from configs import fmnist_sweep
from gnexp.config.schema import TUNERS
from gnexp.errors import UserError
from gnexp.space import choice, floats, integers
from gnexp.space.parse import parse_space
from gnexp.sweeps.oracles import create as oracles
from gnexp.sweeps.oracles.create import create

pytestmark = pytest.mark.any_backend

_OBJECTIVE = keras_tuner.Objective("val_accuracy", "max")


@pytest.fixture
def sweep():
    """The sweep of configs/fmnist_sweep.py."""
    return fmnist_sweep.get_config()


_GROUPS = {"groups": choice(1, 2, 4, 8)}


def _small(tuner, **entries):
    """Returns a sweep over few values."""
    config = fmnist_sweep.get_config()
    config.sweep.tuner, config.sweep.own_first = tuner, False
    args = {key: entries.pop(key) for key in ("l2", "units") if key in entries}
    config.sweep.space = ConfigDict({"model": {"args": args, **(entries or ({} if args else _GROUPS))}})
    return config


def _plain_space():
    hps = keras_tuner.HyperParameters()
    hps.Choice("model.groups", [1, 2, 4, 8])
    return hps


def _score(values):
    return 0.9 - 0.01 * abs(math.log2(values["model.groups"]) - 3) - values.get("model.epsilon", 0)


class _Driver:
    """Runs an oracle in a folder, as a sweep would, with a formula in place of the training."""

    def __init__(self, config, folder, score=_score):
        self.config, self.folder, self.score = config, folder / "oracle", score
        self.leaders = []
        self.open()

    def open(self):
        self.oracle = create(self.config, parse_space(self.config))
        self.oracle.open(self.folder)

    def begin(self):
        return self.oracle.create_trial("tuner0")

    def end(self, trial):
        score = self.score(trial.hyperparameters.values)
        trial.status = "FAILED" if score is None else "COMPLETED"
        trial.message = "it failed" if score is None else None
        if score is not None:
            self.oracle.update_trial(trial.trial_id, {"val_accuracy": score})
        self.oracle.end_trial(trial)

    def run(self, trials=10**6, reopen=False):
        ran = []
        while len(ran) < trials and (trial := self.begin()).status == "RUNNING":
            if reopen:  # killed while the trial runs, and again after its end
                self.open()
                trial = self.begin()
            ran.append(trial.hyperparameters.values)
            self.end(trial)
            if reopen:
                self.open()
            best = self.oracle.best()
            self.leaders.append(best and (best.trial.trial_id, best.score, best.seeds))
        return ran


def _run_plain(oracle, folder, trials, score=_score):
    """Runs one of keras-tuner's own oracles as its own tuner does."""
    oracle.verbose = 0
    oracle._set_project_dir(str(folder), "plain")
    ran = []
    for _ in range(trials):
        trial = oracle.create_trial("tuner0")
        if trial.status != "RUNNING":
            break
        ran.append(dict(trial.hyperparameters.values))
        oracle.update_trial(trial.trial_id, {"val_accuracy": score(trial.hyperparameters.values)})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return ran


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_sweep_that_is_reopened_at_every_turn_makes_the_same_trials(sweep, tmp_path, tuner):
    sweep.sweep.tuner, sweep.sweep.max_trials, sweep.epochs = tuner, 14, 9
    if tuner == "racing":  # its max_trials are those that begin anew
        sweep.sweep.executions = 2
    if tuner == "bayesian":  # 4 random points, then the Gaussian process
        sweep = _small(tuner, groups=choice(1, 2, 4, 8), epsilon=floats(1e-7, 1e-2, sampling="log"))
        sweep.sweep.max_trials = 7

    def score(values):
        return None if values["model.epsilon"] > 3e-3 else _score(values) + values.get("tuner/epochs", 0) / 100

    driver = _Driver(sweep, tmp_path / "a", score)
    unbroken = driver.run()
    anew = [values for values in unbroken if tuner != "racing" or "tuner/trial_id" not in values]
    assert len(anew) == (12 if tuner == "racing" else sweep.sweep.max_trials)  # as many for each combination
    again = _Driver(sweep, tmp_path / "b", score)
    assert again.run(reopen=True) == unbroken
    assert again.leaders == driver.leaders and driver.leaders[-1]


@pytest.mark.parametrize("tuner", TUNERS)
def test_plain_keras_tuner_opens_the_files_and_finds_the_same_best(sweep, tmp_path, tuner, capsys):
    sweep.sweep.tuner, sweep.sweep.max_trials, sweep.epochs = tuner, 8, 9

    def score(values):  # No two trials are equally good, also of those that continue each other.
        place = values.get("tuner/epochs", 0) + values.get("tuner/seed", 0) / 10
        return _score(values) + values["optimizer.learning_rate"] + place / 1e6

    driver = _Driver(sweep, tmp_path, score)
    driver.run()
    best = driver.oracle.get_best_trials(1)[0]
    kind = {
        "random": keras_tuner.RandomSearch,
        "grid": keras_tuner.GridSearch,
        "bayesian": keras_tuner.BayesianOptimization,
        "hyperband": keras_tuner.Hyperband,
        "racing": keras_tuner.RandomSearch,
    }[tuner]
    limit = {} if tuner == "hyperband" else {"max_trials": 8}
    plain = kind(lambda hp: None, objective=_OBJECTIVE, directory=tmp_path, project_name="oracle", **limit)
    assert plain.get_best_hyperparameters()[0].values == best.hyperparameters.values
    assert plain.oracle.get_best_trials(1)[0].score == best.score
    assert len(plain.oracle.trials) == len(driver.oracle.trials) >= 8


def test_seed_zero_is_a_seed(sweep, tmp_path):
    plain = {RandomSearchOracle(objective=_OBJECTIVE, seed=0).seed for _ in range(20)}
    assert len(plain) > 1
    sweep.sweep.seed, sweep.sweep.own_first = 0, False
    first, second = (_Driver(sweep, tmp_path / name).run(3) for name in "ab")
    assert first == second
    sweep.sweep.seed = 1
    other = _Driver(sweep, tmp_path / "c").run(3)
    drawn = [{values["model.epsilon"] for values in ran} for ran in (first, other)]
    assert not drawn[0] & drawn[1]


@pytest.mark.parametrize("tuner", TUNERS)
@pytest.mark.parametrize("groups", [(1, 2, 4, 8), (1, 2, 4)])  # the config's own are 8
def test_the_configs_own_values_are_trial_0_and_not_tried_twice(tmp_path, tuner, groups):
    config = _small(tuner, groups=choice(*groups), norm=choice("batch", "group", "none", role="nuisance"))
    config.epochs, config.sweep.max_trials, config.sweep.own_first = 9, 12, True
    own = {"model.groups": 8, "model.norm": "group"}
    space = parse_space(config)
    assert space.first(config) == own
    driver = _Driver(config, tmp_path / "a")
    ran = driver.run()
    anew = [
        {name: value for name, value in values.items() if not name.startswith("tuner/")}
        for values in ran
        if "tuner/trial_id" not in values
    ]
    assert anew[0] == own and anew.count(own) == 1
    if tuner != "hyperband":  # It has a bracket of nine, and then promotes.
        beside = [values for values in space.combinations() if values != own]
        assert sorted(map(str, anew[1:])) == sorted(map(str, beside))
    assert tuner in ("hyperband", "racing") or len(ran) == oracles.count(config, space)
    assert _Driver(config, tmp_path / "b").run(reopen=True) == ran

    config.sweep.own_first = False
    left = _Driver(config, tmp_path / "c").run(1)
    assert left[0]["model.norm"] != "group" or left[0]["model.groups"] != 8


def test_a_grid_that_max_trials_cuts_short_has_the_configs_own_values_too(tmp_path):
    config = _small("grid")
    config.sweep.own_first, config.sweep.max_trials = True, 2
    assert [values["model.groups"] for values in _Driver(config, tmp_path).run()] == [8, 1]
    config.sweep.max_trials = 9
    assert [values["model.groups"] for values in _Driver(config, tmp_path).run()] == [2, 4]


def test_seeds_share_no_draws(tmp_path):
    hps = keras_tuner.HyperParameters()
    for name in "ab":
        hps.Float(name, 0, 1)
    plain = [
        _run_plain(
            RandomSearchOracle(objective=_OBJECTIVE, hyperparameters=hps, seed=seed, max_trials=3),
            tmp_path / str(seed),
            3,
            lambda values: 0.5,
        )
        for seed in (1, 2)
    ]
    assert plain[0][0]["b"] == plain[1][0]["a"]
    drawn = []
    for seed in (1, 2):
        config = _small("random", epsilon=floats(0.1, 0.2), l2=floats(0.1, 0.2))
        config.sweep.seed, config.sweep.max_trials = seed, 3
        ran = _Driver(config, tmp_path / f"ours-{seed}", lambda values: 0.5).run()
        drawn.append({value for values in ran for value in values.values()})
    assert not drawn[0] & drawn[1]


def test_grid_resumes_and_goes_on_when_max_trials_is_raised(tmp_path):
    plain = GridSearchOracle(objective=_OBJECTIVE, hyperparameters=_plain_space(), max_trials=3, seed=1)
    _run_plain(plain, tmp_path, 2)
    again = GridSearchOracle(objective=_OBJECTIVE, hyperparameters=_plain_space(), max_trials=4, seed=1)
    again._set_project_dir(str(tmp_path), "plain")
    again.verbose = 0
    again.reload()
    trial = again.create_trial("tuner0")
    assert trial.score is not None  # it had ended, and is run again
    again.end_trial(trial)
    with pytest.raises(KeyError):
        again.create_trial("tuner0")

    config = _small("grid")
    config.sweep.max_trials = 2
    assert [values["model.groups"] for values in _Driver(config, tmp_path).run()] == [1, 2]
    config.sweep.max_trials = 9
    assert [values["model.groups"] for values in _Driver(config, tmp_path).run()] == [4, 8]


def test_grid_goes_in_keras_tuners_order(tmp_path):
    hps = _plain_space()
    hps.Choice("model.norm", ["group", "batch"])
    plain = _run_plain(GridSearchOracle(objective=_OBJECTIVE, hyperparameters=hps, seed=1), tmp_path / "plain", 100)
    config = _small("grid", groups=choice(1, 2, 4, 8), norm=choice("group", "batch"))
    assert _Driver(config, tmp_path).run() == plain
    assert len(plain) == 8


def test_bayesian_never_repeats_and_has_them_all(tmp_path):
    plain = BayesianOptimizationOracle(
        objective=_OBJECTIVE, hyperparameters=_plain_space(), max_trials=8, num_initial_points=2, seed=1
    )
    ran = [values["model.groups"] for values in _run_plain(plain, tmp_path, 8)]
    assert len(set(ran)) < len(ran)

    config = _small("bayesian")
    config.sweep.max_trials = 8
    ran = [values["model.groups"] for values in _Driver(config, tmp_path).run()]
    assert sorted(ran) == [1, 2, 4, 8]


def test_random_search_has_all_of_a_small_space(tmp_path):
    config = _small("random", groups=choice(1, 2, 4, 8, 16, 32), norm=choice("group", "batch", "layer", "instance"))
    assert len(_Driver(config, tmp_path).run(100)) == 24


def test_bayesian_finds_what_random_search_does_not(tmp_path):
    # An independent check that the Gaussian process works: 12 trials on a smooth bowl.
    best = {}
    for tuner in ("random", "bayesian"):
        config = _small(tuner, epsilon=floats(1e-7, 1e-2, sampling="log"), l2=floats(0.0, 1.0))
        config.sweep.max_trials, config.sweep.seed = 12, 3

        def bowl(values):
            return -((math.log10(values["model.epsilon"]) + 4) ** 2) - 10 * (values["model.args.l2"] - 0.3) ** 2

        driver = _Driver(config, tmp_path / tuner, bowl)
        driver.run()
        best[tuner] = driver.oracle.get_best_trials(1)[0].score
    assert best["bayesian"] > best["random"]


def test_a_name_under_two_conditions_keeps_its_value(sweep, tmp_path):
    hps = keras_tuner.HyperParameters()
    hps.Choice("optimizer.name", ["adam", "sgd"])
    for name, low in (("adam", 1e-4), ("sgd", 1e-2)):
        with hps.conditional_scope("optimizer.name", [name]):
            hps.Float("optimizer.learning_rate", low, 10 * low)
    plain = RandomSearchOracle(objective=_OBJECTIVE, hyperparameters=hps, seed=1, max_trials=20)
    ran = _run_plain(plain, tmp_path, 20, lambda values: 0.5)
    assert any("optimizer.learning_rate" not in values for values in ran)  # dropped by the condition that does not hold

    ranges = {"sgd": (1e-3, 1e-1), "lion": (1e-5, 1e-3)}
    for values in _Driver(sweep, tmp_path).run(20):
        low, high = ranges.get(values["optimizer.name"], (1e-4, 1e-2))
        assert low <= values["optimizer.learning_rate"] <= high


def _failing(values):
    return None


def test_failures_do_not_end_the_search(tmp_path):
    plain = RandomSearchOracle(objective=_OBJECTIVE, hyperparameters=_plain_space(), seed=1, max_trials=4)
    plain.verbose = 0
    plain._set_project_dir(str(tmp_path), "plain")
    for number in range(3):
        trial = plain.create_trial("tuner0")
        trial.status = "FAILED"
        if number < 2:
            plain.end_trial(trial)
    with pytest.raises(RuntimeError, match="consecutive"):
        plain.end_trial(trial)
    on_disk = json.loads((tmp_path / f"plain/trial_{trial.trial_id}/trial.json").read_text())
    assert on_disk["status"] == "RUNNING"

    driver = _Driver(_small("random"), tmp_path, _failing)
    assert len(driver.run()) == 4
    states = [json.loads(path.read_text()) for path in sorted((tmp_path / "oracle").glob("trial_*/trial.json"))]
    assert [(state["status"], state["message"]) for state in states] == [("FAILED", "it failed")] * 4


def test_hyperband_promotes_the_best_also_after_failures(tmp_path):
    def score(values):  # a third of the first round fails
        return None if values["model.args.l2"] > 0.6 else values["model.args.l2"] + values["tuner/epochs"] / 100

    config = _small("hyperband", l2=floats(0.0, 1.0))
    config.epochs, config.sweep.max_trials = 9, 13
    ran = _Driver(config, tmp_path, score).run()
    first = [values for values in ran if values["tuner/round"] == 0]
    good = sorted((values["model.args.l2"] for values in first if score(values)), reverse=True)
    failed = len(first) - len(good)
    assert len(first) == 9 and 2 <= failed <= 6
    assert [values["model.args.l2"] for values in ran if values["tuner/round"] == 1] == good[:3]
    assert [values["model.args.l2"] for values in ran if values["tuner/round"] == 2] == good[:1]
    assert [values["tuner/epochs"] for values in ran] == [1] * 9 + [3] * 3 + [9]
    assert {values["tuner/bracket"] for values in ran} == {2}

    plain = HyperbandOracle(objective=_OBJECTIVE, max_epochs=9, factor=3, seed=1, max_consecutive_failed_trials=99)
    plain.hyperparameters.Float("model.args.l2", 0, 1)
    plain.verbose = 0
    plain._set_project_dir(str(tmp_path), "plain")
    rounds = []
    for _ in range(13):
        trial = plain.create_trial("tuner0")
        values = trial.hyperparameters.values
        rounds.append((values["tuner/bracket"], values["tuner/round"]))
        trial.status = "FAILED" if score(values) is None else "COMPLETED"
        if trial.status == "COMPLETED":
            plain.update_trial(trial.trial_id, {"val_accuracy": score(values)})
        plain.end_trial(trial)
    assert rounds.count((2, 1)) < 3


def test_hyperband_keeps_the_checkpoints_that_may_be_promoted(tmp_path):
    config = _small("hyperband", l2=floats(0.0, 1.0))
    config.epochs, config.sweep.max_trials = 9, 13
    driver = _Driver(config, tmp_path, lambda values: values["model.args.l2"])
    driver.run(9)
    assert driver.oracle.promotable() == {f"{number:04d}" for number in range(9)}
    trial = driver.begin()
    assert trial.hyperparameters.values["tuner/trial_id"] in driver.oracle.promotable()
    driver.end(trial)
    driver.run()
    assert driver.oracle.promotable() == set()


@pytest.mark.parametrize("epochs", [1, 3, 9, 13])
def test_hyperband_brackets_follow_each_other_until_max_trials(tmp_path, epochs):
    config = _small("hyperband", l2=floats(0.0, 1.0))
    config.epochs, config.sweep.max_trials = epochs, 60
    ran = _Driver(config, tmp_path, lambda values: values["model.args.l2"]).run()
    assert len(ran) == 60
    assert {values["tuner/epochs"] for values in ran} <= set(range(1, epochs + 1))


class _KilledError(BaseException):
    pass


def test_a_file_is_whole_whatever_dies_while_it_is_written(tmp_path, monkeypatch):
    plain = RandomSearchOracle(objective=_OBJECTIVE, hyperparameters=_plain_space(), seed=1, max_trials=4)
    _run_plain(plain, tmp_path, 1)
    driver = _Driver(_small("random"), tmp_path)
    driver.run(1)
    before = (tmp_path / "oracle/oracle.json").read_text()
    write = io.TextIOWrapper.write

    def half(path, text, **options):
        with path.open("w") as file:
            write(file, text[: len(text) // 2])
        raise _KilledError

    class HalfFile:
        def __init__(self, path, mode):
            self.path = pathlib.Path(path)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def write(self, text):
            half(self.path, text)

    monkeypatch.setattr("keras_tuner.src.backend.io.File", HalfFile)
    monkeypatch.setattr(pathlib.Path, "write_text", half)
    for oracle in (plain, driver.oracle):
        with pytest.raises(_KilledError):
            oracle.save()
    monkeypatch.undo()
    with pytest.raises(json.JSONDecodeError):
        json.loads((tmp_path / "plain/oracle.json").read_text())
    assert (tmp_path / "oracle/oracle.json").read_text() == before


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"start_order": ["0000"]}'])
def test_damaged_files_are_named_in_one_line(tmp_path, damage):
    driver = _Driver(_small("random"), tmp_path)
    driver.run(2)
    path = tmp_path / "oracle/oracle.json"
    path.write_text(damage)
    with pytest.raises(UserError, match=r"oracle\.json") as error:
        driver.open()
    assert "\n" not in str(error.value)
    assert path.read_text() == damage
    path.unlink()
    with pytest.raises(UserError, match=r"oracle\.json is missing"):
        driver.open()


def test_values_are_as_drawn_from_the_space(sweep, tmp_path):
    sweep.sweep.max_trials = 200
    ran = _Driver(sweep, tmp_path).run()
    exponents = np.log10([values["model.epsilon"] for values in ran])
    assert abs(np.mean(exponents) + 4.5) < 0.35 and exponents.min() >= -7 and exponents.max() <= -2
    for path, count in (("model.groups", 6), ("data.batch_size", 8), ("optimizer.name", 6)):
        _, counts = np.unique([values[path] for values in ran], return_counts=True)
        assert len(counts) == count and counts.min() > 200 / count / 3


def test_bayesian_leaves_the_place_of_its_failures(tmp_path):
    config = _small("bayesian", l2=floats(1e-4, 10.0, sampling="log"), epsilon=floats(1e-7, 1e-2, sampling="log"))
    config.sweep.max_trials = 12

    def score(values):  # scores get better towards the values that fail
        return None if values["model.args.l2"] > 1 else math.log10(values["model.args.l2"])

    ran = _Driver(config, tmp_path, score).run()
    failed = [values["model.args.l2"] for values in ran if score(values) is None]
    assert len({f"{value:.3g}" for value in failed}) == len(failed)
    assert len(failed) <= 7


def test_hyperband_promotes_in_a_space_smaller_than_its_first_round(tmp_path):
    config = _small("hyperband", groups=choice(1, 2, 4, 8))
    config.epochs, config.sweep.max_trials = 9, 30
    ran = _Driver(config, tmp_path).run()
    assert [values["tuner/epochs"] for values in ran] == [1, 1, 1, 1, 3, 3, 3, 9]
    assert ran[-1]["model.groups"] == 8
    assert _Driver(config, tmp_path / "again").run(reopen=True) == ran


def test_random_search_has_all_whole_numbers_of_a_logarithmic_range(tmp_path):
    config = _small("random", units=integers(1, 30, sampling="log"))
    ran = _Driver(config, tmp_path, lambda values: 0.5).run(99)
    assert sorted(values["model.args.units"] for values in ran) == list(range(1, 31))


def _side_by_side(config, folder, slots, reopen=False):
    """Returns the values of every trial of a sweep with `slots` trials at a time; the youngest ends first."""
    driver, running = _Driver(config, folder), {}
    while True:
        if reopen:  # killed
            driver.open()
            running = {slot: driver.oracle.ongoing_trials[f"tuner{slot}"] for slot in running}
        for slot in set(range(slots)) - set(running):
            before = driver.oracle.get_state()["seed_state"]
            trial = driver.oracle.create_trial(f"tuner{slot}")
            if trial.status == "RUNNING":
                running[slot] = trial
            elif trial.status == "IDLE":
                assert driver.oracle.get_state()["seed_state"] == before, "a kill would forget these draws"
        if not running:
            return {trial_id: trial.hyperparameters.values for trial_id, trial in driver.oracle.trials.items()}
        driver.end(running.pop(max(running, key=lambda slot: running[slot].trial_id)))


@pytest.mark.parametrize("entries", [{}, {"groups": choice(1, 2, 4, 8), "epsilon": floats(1e-7, 1e-2)}])
@pytest.mark.parametrize("tuner", ["random", "grid"])
def test_the_trials_do_not_hang_on_how_many_run_at_a_time(tmp_path, tuner, entries):
    config = _small(tuner, **entries)
    config.sweep.max_trials = 7
    expected = _side_by_side(config, tmp_path / "1", slots=1)
    assert len(expected) == (7 if entries else 4)
    assert _side_by_side(config, tmp_path / "3", slots=3) == expected


@pytest.mark.parametrize(("tuner", "trials"), [("bayesian", 7), ("hyperband", 20)])
def test_tuners_that_learn_end_with_several_at_a_time(tmp_path, tuner, trials):
    config = _small(tuner, groups=choice(1, 2, 4, 8), epsilon=floats(1e-7, 1e-2))
    config.epochs, config.sweep.max_trials = 9, trials
    found = _side_by_side(config, tmp_path, slots=3)
    assert len(found) == len({json.dumps(values) for values in found.values()}) == trials


def test_kills_do_not_change_what_bayesian_proposes_beside_running_trials(tmp_path):
    config = _small("bayesian", groups=choice(1, 2, 4, 8), epsilon=floats(1e-7, 1e-2, sampling="log"))
    config.sweep.max_trials = 12
    unbroken = _side_by_side(config, tmp_path / "a", slots=3)
    assert _side_by_side(config, tmp_path / "b", slots=3, reopen=True) == unbroken
