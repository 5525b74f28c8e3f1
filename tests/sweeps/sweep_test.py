"""A sweep in its workdir: the results of its trials, what it keeps, what the dashboard gets, and what stops it."""

import dataclasses
import errno
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import time

import keras
import pytest

from gnexp.analysis import outcomes
from gnexp.analysis.sweep import read_trials
from gnexp.config import objective
from gnexp.config.paths import flatten
from gnexp.config.stored import record, resume_config
from gnexp.config.validation import validate
from gnexp.data.load import load
from gnexp.errors import GnexpError, InterruptedTrainingError, UserError
from gnexp.space import choice
from gnexp.sweeps import dry_run, trial
from gnexp.training import dashboard
from gnexp.training.loop import Training
from gnexp.training.run import train
from gnexp.workdir import files, result
from gnexp.workdir.folder import opened
from tests.support.sweeps import TOO_FAST, run, tiny, with_failures

pytestmark = pytest.mark.any_backend


@pytest.fixture
def finished(failing_sweep):
    """A sweep of six trials, two of which fail, of two seeds each: its config and folder."""
    return with_failures(), failing_sweep


def test_every_trial_is_run_with_every_seed(finished):
    config, directory = finished
    found = read_trials(directory)
    assert [outcome.status for outcome in found] == ["completed"] * 2 + ["failed"] * 2 + ["completed"] * 2
    for outcome in found:
        for number, done in enumerate(outcome.results):
            stored = files.read_json(
                files.execution_folder(files.trial_folder(directory, outcome.trial_id), number) / "config.json"
            )
            assert stored["seed"] == number and "sweep" not in stored
            flat = flatten(stored)
            assert {path: flat[path] for path in outcome.values} == outcome.values
            assert len(done.history) == config.epochs
    assert [len(outcome.results) for outcome in found] == [2, 2, 0, 0, 2, 2]


def test_a_failure_is_recorded_with_its_reason(finished):
    _, directory = finished
    for outcome in read_trials(directory)[2:4]:
        assert outcome.mean is None
        assert "DivergedError" in outcome.message and "seed 0" in outcome.message
        folder = files.execution_folder(files.trial_folder(directory, outcome.trial_id), 0)
        assert "DivergedError" in json.loads((folder / "result.json").read_text())["message"]
        assert not files.execution_folder(files.trial_folder(directory, outcome.trial_id), 1).exists()
    record = json.loads((directory / "result.json").read_text())
    assert record["failures"].keys() == {"0002", "0003"} and record["trials"] == {"completed": 4, "failed": 2}


def test_of_all_models_the_best_trials_stay(finished):
    config, directory = finished
    best = outcomes.ranked(read_trials(directory), objective.of(flatten(config)))[0].trial_id
    kept = {str(path.relative_to(directory)) for path in directory.rglob("checkpoints/*")}
    assert kept == {f"trials/{best}/seed-{seed}/checkpoints/best.keras" for seed in (0, 1)}


def _load_best(directory):
    spec = importlib.util.spec_from_file_location("best", directory / "best.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


def test_the_best_config_trains_the_same_again_by_itself(finished, tmp_path):
    config, directory = finished
    best = outcomes.ranked(read_trials(directory), objective.of(flatten(config)))[0]
    again = _load_best(directory)
    validate(again)
    with opened(tmp_path / "again", again) as again:
        alone = train(again, load(again.data), tmp_path / "again")
    timeless = [[{**epoch, "seconds": 0} for epoch in done.history] for done in (alone, best.results[0])]
    assert timeless[0] == timeless[1]
    assert alone.test == best.results[0].test


def test_a_finished_sweep_is_not_run_again_and_goes_on_when_max_trials_is_raised(tmp_path):
    config = tiny("random", trials=1)
    first = run(config, tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("trials/*/*/result.json")}
    assert run(config, tmp_path) == first
    config.sweep.max_trials = 2
    extended = run(config, tmp_path)
    assert extended[:1] == first and len(extended) == 2
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    unbroken = run(tiny("random", trials=2), tmp_path / "unbroken")
    assert [each.values for each in unbroken] == [each.values for each in extended]


def test_hyperband_goes_on_from_the_checkpoint_of_the_trial_that_it_promotes(tmp_path):
    config = tiny("hyperband", trials=4, epochs=3, executions=2)
    found = run(config, tmp_path)
    promoted = [outcome for outcome in found if "tuner/trial_id" in outcome.values]
    assert promoted
    for outcome in promoted:
        former = next(each for each in found if each.trial_id == outcome.values["tuner/trial_id"])
        assert len(former.results[0].history) == 1 and len(outcome.results[0].history) == 3
        for before, after in zip(former.results, outcome.results, strict=True):
            assert after.history[:1] == before.history
    # The reference: the same training without any promotion.
    alone = _load_best(tmp_path)
    best = outcomes.ranked(found, objective.of(flatten(config)))[0]
    alone.epochs = len(best.results[0].history)
    with opened(tmp_path / "alone", alone):
        straight = train(alone, load(alone.data), tmp_path / "alone")
    assert [epoch["val_loss"] for epoch in straight.history] == [e["val_loss"] for e in best.results[0].history]


def _breaking(monkeypatch, error, at):
    """Makes the `at`-th training from now on raise."""
    real, calls = trial.train, []

    def breaks(*arguments):
        calls.append(arguments)
        if len(calls) == at:
            raise error
        return real(*arguments)

    monkeypatch.setattr(trial, "train", breaks)


@pytest.mark.parametrize("error", [MemoryError(), ValueError("two\nlines"), RuntimeError("RESOURCE_EXHAUSTED: OOM")])
def test_whatever_a_trial_raises_the_sweep_goes_on(tmp_path, monkeypatch, error):
    _breaking(monkeypatch, error, at=1)
    found = run(tiny("random", trials=2), tmp_path)
    assert [outcome.status for outcome in found] == ["failed", "completed"]
    assert type(error).__name__ in found[0].message and "\n" not in found[0].message


def test_a_sweep_whose_first_trials_all_fail_stops_and_says_why(tmp_path):
    config = tiny(trials=9, optimizer={"learning_rate": choice(TOO_FAST, 1e26, 1e27, 1e28)})
    config.sweep.max_failures = 3
    with pytest.raises(GnexpError, match=r"first 3 trials .*failed, 3 of them with DivergedError") as stopped:
        run(config, tmp_path)
    assert "\n" not in str(stopped.value)
    assert len(read_trials(tmp_path)) == 3
    with pytest.raises(GnexpError, match="max_failures"):
        run(config, tmp_path)
    assert len(read_trials(tmp_path)) == 3


def test_one_success_among_the_first_is_enough(tmp_path):
    config = tiny(trials=4, optimizer={"learning_rate": choice(TOO_FAST, 1e26, 1e-2, 1e27)})
    config.sweep.max_failures = 3
    assert [each.status for each in run(config, tmp_path)] == ["failed", "failed", "completed", "failed"]


def test_a_full_disk_at_any_write_loses_nothing(tmp_path, monkeypatch):
    config = tiny("random", trials=2, epochs=1)
    expected = run(config, tmp_path / "unbroken")
    real, writes = files.write_json, []
    directory = tmp_path / "full"

    def write_json(path, value, **options):
        writes.append(path)
        if len(writes) % 5 == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, value, **options)

    monkeypatch.setattr(files, "write_json", write_json)
    refused = 0
    while True:
        try:
            found = run(config, directory)
            break
        except OSError:
            refused += 1
    monkeypatch.undo()
    assert refused >= 3
    for outcome, reference in zip(found, expected, strict=True):
        assert (outcome.values, outcome.mean) == (reference.values, reference.mean)
    assert run(config, directory) == found


def test_a_signal_during_a_trial_stops_the_sweep_which_then_goes_on(tmp_path, monkeypatch):
    config = tiny("random", trials=2, epochs=2)
    expected = run(config, tmp_path / "unbroken")
    real = dashboard.curves

    def curves(events, training, figures):
        real(events, training, figures)
        if len(list((tmp_path / "stopped/trials").iterdir())) == 2 and figures["epoch"] == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(dashboard, "curves", curves)
    with pytest.raises(InterruptedTrainingError, match="in a trial, after epoch 1") as stopped:
        run(config, tmp_path / "stopped")
    assert stopped.value.directory == tmp_path / "stopped" and stopped.value.exit_code == 130
    assert [each.status for each in read_trials(tmp_path / "stopped")] == ["completed", "running"]
    monkeypatch.undo()
    found = run(config, tmp_path / "stopped")
    assert [(each.values, each.mean) for each in found] == [(each.values, each.mean) for each in expected]


@pytest.mark.parametrize("moment", ["evaluate", "take_best_weights"])
def test_a_signal_when_nobody_asks_any_more_is_not_lost(tmp_path, monkeypatch, moment):
    real = getattr(Training, moment)

    def signalled(*arguments):
        if len(arguments[0].history) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)

    config = tiny("random", trials=3, executions=2)
    monkeypatch.setattr(Training, moment, signalled)
    with pytest.raises(InterruptedTrainingError) as stopped:
        run(config, tmp_path)
    assert stopped.value.exit_code == 143
    assert len(read_trials(tmp_path)) == 1


def test_a_second_signal_that_comes_while_a_layer_is_called_is_no_failure_of_the_trial(tmp_path, monkeypatch):
    real = keras.layers.Dense.call

    def signalled(self, inputs):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1.1)  # A second one that comes at once counts as the same.
        os.kill(os.getpid(), signal.SIGTERM)
        return real(self, inputs)

    config = tiny("random", trials=1)
    monkeypatch.setattr(keras.layers.Dense, "call", signalled)
    with pytest.raises(InterruptedTrainingError, match="in the middle of a step") as stopped:
        run(config, tmp_path)
    assert stopped.value.exit_code == 143
    monkeypatch.undo()
    assert [each.status for each in run(config, tmp_path)] == ["completed"]


def test_best_py_is_of_the_first_row_of_the_table_also_when_promotion_gains_nothing(tmp_path, monkeypatch):
    real = Training.evaluate
    half = {"accuracy": 0.5}
    monkeypatch.setattr(Training, "evaluate", lambda *arguments: dataclasses.replace(real(*arguments), figures=half))
    found = run(tiny("hyperband", trials=4, epochs=3), tmp_path)
    assert [each.mean for each in found] == [0.5] * 4 and found[3].values["tuner/trial_id"] == "0000"
    first = json.loads((tmp_path / "result.json").read_text())["best"][0]
    assert first["trial"] == "0001"
    assert _load_best(tmp_path).model.epsilon == first["values"]["model.epsilon"]


def test_a_sweep_of_which_nothing_completed_is_no_success(tmp_path):
    config = tiny(trials=2, optimizer={"learning_rate": choice(TOO_FAST, 1e26)})
    with pytest.raises(GnexpError, match=r"all of its 2 trials failed, 2 of them with DivergedError"):
        run(config, tmp_path)
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "failure"


def test_a_failure_that_a_kill_kept_from_the_oracle_enters_it_as_it_would_have(tmp_path, monkeypatch):
    error = RuntimeError("first line\n" + "a long dump " * 100)
    _breaking(monkeypatch, error, at=1)
    config = tiny("random", trials=2)
    expected = run(config, tmp_path / "unbroken")[0].message
    monkeypatch.undo()
    _breaking(monkeypatch, error, at=1)

    class KilledError(BaseException):
        pass

    def killed(*arguments):
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr("gnexp.sweeps.sweep._Sweep.end", killed)
        with pytest.raises(KilledError):
            run(config, tmp_path / "killed")
    assert run(config, tmp_path / "killed")[0].message == expected == "RuntimeError: first line"


def test_another_search_space_is_refused_naming_what_changed(finished):
    config, directory = finished
    config = config.copy_and_resolve_references()
    config.sweep.space.model.groups.values = (1, 4)
    config.sweep.seed = 5
    before = (directory / "config.json").read_bytes()
    with pytest.raises(UserError) as refused:
        run(config, directory)
    assert "config.sweep.space.model.groups.values is [1, 2] there and [1, 4] here" in str(refused.value)
    assert "config.sweep.seed is 1 there and 5 here" in str(refused.value)
    assert (directory / "config.json").read_bytes() == before


def test_a_training_and_a_sweep_do_not_share_a_workdir(finished, small):
    _, directory = finished
    with pytest.raises(UserError, match="holds a sweep, and --config is a training"):
        resume_config(small, files.read_json(directory / "config.json"))


def test_only_one_process_at_a_time(finished):
    config, directory = finished
    with opened(directory, record(config, "digits")), pytest.raises(UserError, match="in use"):
        run(config, directory)


def test_nothing_is_left_of_a_trial_that_was_never_created(tmp_path):
    config = tiny("random", trials=1)
    run(config, tmp_path)
    orphan = tmp_path / "oracle/trial_0001"
    orphan.mkdir()
    (orphan / "trial.json").write_text((tmp_path / "oracle/trial_0000/trial.json").read_text())
    assert len(run(config, tmp_path)) == 1
    assert not orphan.exists()


def test_what_the_user_set_aside_within_a_sweep_stays(tmp_path):
    config = tiny("grid", trials=1, epochs=1, model={"groups": choice(1, 2)})
    run(config, tmp_path)
    copies = {"trials/0000": f"seed-0/{files.MODEL}", "oracle/trial_0000": "trial.json"}
    kept = [shutil.copytree(tmp_path / name, tmp_path / f"{name}-old") / file for name, file in copies.items()]
    run(config, tmp_path)
    assert all(path.exists() for path in kept)


def test_the_command_line_from_the_first_trial_to_the_table(train_here, tmp_path):
    directory = tmp_path / "sweep"
    arguments = (
        "--config.data.train_size=128",
        "--config.data.validation=50",
        "--config.sweep.max_trials=2",
        "--config.sweep.executions=1",
        "--config.sweep.space.optimizer.name.values=adam",
        f"--workdir={directory}",
    )
    done = train_here(*arguments, config="configs/smoke_sweep.py")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line[:10] for line in lines if "[" in line] == ["trial 0000", "trial 0001"]
    assert "2 trials on digits, 0 failed" in lines
    assert any(line.startswith("0000 ") or line.startswith("0001 ") for line in lines)
    assert f"  python -m gnexp.train --config={directory}/best.py" in lines

    refused = train_here(*arguments, "--config.sweep.space.model.groups.values=1,2", config="configs/smoke_sweep.py")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1 and "config.sweep.space.model.groups.values" in refused.stderr


def test_a_dry_run_says_what_it_would_do_and_touches_nothing(train_here, tmp_path, monkeypatch):
    monkeypatch.setattr(dry_run, "_SECONDS", 0)  # one trial
    done = train_here("--dry_run", f"--workdir={tmp_path / 'none'}", config="configs/fmnist_sweep.py")
    assert done.returncode == 0 and done.stderr == ""
    for words in ("model.groups", "1e-07 to 0.01, log", "nuisance", "optimizer.name: sgd", "28800", "max val_accuracy"):
        assert words in done.stdout
    rows = [line for line in done.stdout.splitlines() if line[:4].isdigit()]
    assert len(rows) == 10
    refused = train_here("--dry_run", "--config.data.batch_size=10000")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1) and "there are 1293 images" in refused.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--config.model.groups=4", ["config.model.groups is searched", "config.sweep.space.model.groups"]),
        ("--config.sweep.space.model.groups.values=1,3", ["model.groups=3"]),
        ("--config.sweep.space.model.gruops.values=1", ["--config.sweep.space.model.gruops.values=1", "no such entry"]),
        ("--config.sweep.space.model.groups=4", ["config.sweep.space.model.groups=4"]),
        ("--config.sweep.tuner=evolution", ["config.sweep.tuner='evolution'", "'hyperband'"]),
        ("--config.sweep.max_trials=0", ["config.sweep.max_trials=0", "1 to 9999"]),
        ("--config.sweep.parallel=0", ["config.sweep.parallel=0", "1 to 1000"]),
        ("--config.sweep.parallel=2", ["config.sweep.parallel=2", "'serial'", "--config.sweep.executor=processes"]),
        ("--config.sweep.executor=ray --config.sweep.resources.cpus=999", ["resources.cpus=999", "this machine has"]),
        ("--ray_address=head:6379", ["--ray_address=head:6379", "--config.sweep.executor=ray"]),
        ("--config.sweep.space.model.epsilon.min_value=0", ["min_value=0.0", "above 0"]),
    ],
)
def test_a_mistake_is_one_line(gnexp_train, tmp_path, argument, words):
    done = gnexp_train(*argument.split(), f"--workdir={tmp_path / 'none'}", config="configs/fmnist_sweep.py")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and all(word in done.stderr for word in words), done.stderr
    assert not list(tmp_path.iterdir())


def test_results_of_a_stop_and_of_a_failure_are_told_apart(tmp_path):
    result.write_failure(tmp_path, InterruptedTrainingError(2, "here", pathlib.Path("x")))
    assert result.failed(tmp_path) is None
    result.write_failure(tmp_path, ValueError("\nso"))
    assert result.failed(tmp_path) == "ValueError: so"
