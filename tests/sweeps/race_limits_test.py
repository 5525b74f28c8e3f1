"""What ends a race early: the limits of its epochs and its seconds, and what is said of them."""

import pytest
from ml_collections import ConfigDict

from configs import fmnist_sweep
from gnexp.analysis import answer_words
from gnexp.analysis.sweep import read_sweep
from gnexp.reports import archive
from gnexp.space import choice
from gnexp.space.parse import parse_space
from gnexp.sweeps import console, dry_run
from gnexp.sweeps.oracles.create import create
from tests.support.sweeps import run, tiny

pytestmark = pytest.mark.any_backend


def _config(groups, *rates):
    config = fmnist_sweep.get_config()
    config.sweep.tuner = "racing"
    config.sweep.space = ConfigDict({"model": {"groups": groups}, "optimizer": {}})
    if rates:
        config.sweep.space.optimizer.learning_rate = choice(*rates, role="nuisance")
    return config


def test_a_dry_run_counts_the_trainings_of_a_race_and_their_epochs(monkeypatch, capsys):
    config = _config(choice(1, 2, 8), 1e-4, 1e-3, 1e-2)
    config.epochs, config.sweep.executions, config.sweep.max_trials = 10, 4, 9
    monkeypatch.setattr(dry_run, "_seconds", lambda *_: 60.0)
    # Nine settings of 5 epochs, one in three of which goes on to 10, and then has three more seeds.
    dry_run.estimate(config, None, parse_space(config), [{}])
    assert "About 15:00 for 9 settings in 21 trainings of 150 epochs together, 1 at a time" in capsys.readouterr().out
    config.sweep.max_epochs = 100
    dry_run.estimate(config, None, parse_space(config), [{}])
    # All settings' 60 epochs, and four more seeds of 10.
    assert "About 10:00 for the first 16 of 21 trainings, of 100 epochs together" in capsys.readouterr().out


def test_a_dry_run_says_what_a_limit_leaves_of_a_race():
    config = _config(choice(1, 2, 8), 1e-4, 1e-3)
    config.epochs, config.sweep.executions, config.sweep.max_trials = 10, 3, 6
    said = {}
    for most in (10, 74, 75, 105, 64, 65):
        config.sweep.max_epochs = most
        said[most] = console._can_answer(config, parse_space(config))
    # Six settings of 5 epochs, half of which go on to 10, and three combinations with two more seeds.
    assert said[10].startswith(
        "config.sweep.max_epochs=10 ends the race after about 2 of 15 trainings, which take about"
    )
    assert "about 105 epochs together: the report will compare little or nothing." in said[10]
    assert "after about 10 of 15 " in said[64] and "little or nothing" in said[64]
    assert "after about 11 of 15 " in said[65] and "compare only a part of the combinations." in said[65]
    assert said[105].startswith("The report will compare the combinations of model.groups on test figures")


def test_a_budget_of_epochs_ends_the_race():
    config = _config(choice(1, 2, 4, 8), 1e-3, 1e-2)
    config.epochs, config.sweep.executions, config.sweep.max_epochs = 10, 4, 63
    oracle, trained = create(config, parse_space(config)), 0
    while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
        values = trial.hyperparameters.values
        trained += values["tuner/epochs"] - values["tuner/initial_epoch"]
        oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5 + values["model.groups"] / 100})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    assert trained == 60
    assert oracle.ended_by() == "config.sweep.max_epochs=63 ended the race: raise it on this workdir to continue"


def test_a_race_that_a_limit_ended_says_so_until_the_limit_is_raised(tmp_path, capsys):
    config, directory, kept = (
        tiny("racing", epochs=1, model={"groups": choice(1, 2)}),
        tmp_path / "race",
        tmp_path / "kept",
    )
    line = (
        "config.sweep.max_epochs=1 ended the race: raise it on this workdir to continue; without a completed training: "
        "1 of 2 combinations"
    )
    # With two epochs both settings are trained, and there is nothing else to train.
    for most, said in ((1, True), (2, False)):
        config.sweep.max_epochs = most
        assert len(run(config, directory)) == most
        assert (f"\nnote: {line}\n" in capsys.readouterr().out) is said
        archive.keep(directory, kept)
        for folder in (directory, kept):
            how = answer_words.tell(read_sweep(folder)).how
            assert (f"**The race was not over**: {line}." in how) is said == ("not over" in how)


def test_a_race_that_its_seconds_ended_says_both_limits(tmp_path):
    config = _config(choice(1, 2))
    config.epochs, config.sweep.max_epochs, config.sweep.max_seconds = 10, 5, 0.5
    oracle = create(config, parse_space(config))
    trial = oracle.create_trial("tuner0")
    assert oracle.ended_by() == ""
    oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5})
    oracle.took(trial.trial_id, 1.0)
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    assert oracle.ended_by().startswith(
        "config.sweep.max_epochs=5 and config.sweep.max_seconds=0.5 ended the race: raise them on this workdir"
    )
