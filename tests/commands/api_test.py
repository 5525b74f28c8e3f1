"""gnexp from Python: trainings, sweeps, resumption and messages as on the command line, and tables of results."""

import json
import pathlib
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pandas as pd
import pytest

import gnexp
from configs import smoke, smoke_sweep
from gnexp.data.load import load
from gnexp.errors import UserError
from gnexp.reports import archive
from gnexp.workdir import files
from tests.support import made_up
from tests.support.sweeps import tiny

MLP = {"model.name": "mlp", "model.args.units": (8,)}  # compiled in no time
SMALL = {"epochs": 2, "data.train_size": 96, "data.batch_size": 32}
_NETS = """
import keras


class Times(keras.layers.Layer):
    def call(self, x):
        return {factor} * x


def build(inputs, outputs):
    return keras.Model(inputs, keras.layers.Dense(outputs)(keras.layers.Flatten()(Times()(inputs))))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder of the user's with a network, the current one; gives a function that changes the network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "nets_of_api", raising=False)

    def write(factor: str) -> pathlib.Path:
        (tmp_path / "nets_of_api.py").write_text(_NETS.format(factor=factor))
        return tmp_path

    write("1.0")
    return write


def run(workdir: pathlib.Path, config):
    return gnexp.run(config, workdir, {**SMALL, **MLP, "model.groups": 1})


@pytest.mark.any_backend
def test_looking_at_gnexp_imports_nothing_heavy(unheavy):
    code = "import gnexp, sys; gnexp.run, gnexp.load, gnexp.results, gnexp.UserError; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": unheavy}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"numpy", "pandas", "absl", "ml_collections", "scipy", "asyncio"} & set(done.stdout.split())


@pytest.mark.any_backend
def test_the_version_is_that_of_the_installation():
    assert gnexp.__version__ == "0.1.0"
    assert {"run", "load", "results", "__version__"} <= set(dir(gnexp))
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = gnexp.trian


def test_a_training_outside_of_the_main_thread_and_what_it_gives(tmp_path, capfd):
    config, made = smoke.get_config(), []
    thread = threading.Thread(target=lambda: made.append(run(tmp_path / "a", config)))
    thread.start()
    thread.join()
    (done,) = made
    assert config == smoke.get_config()
    stored = json.loads((tmp_path / "a" / "result.json").read_text())
    pd.testing.assert_frame_equal(done.history, pd.DataFrame(stored["history"]).set_index("epoch"))
    assert {f"test_{name}": value for name, value in done.test.items()}.items() <= stored.items()
    part = load(config.data).test
    logits = done.model().predict(part.inputs, verbose=0)
    assert np.mean(logits.argmax(axis=1) == part.targets) == pytest.approx(stored["test_accuracy"])
    assert (done.workdir, done.trial) == (tmp_path / "a", None)
    row = gnexp.results(str(tmp_path / "a")).iloc[0]
    assert (row["training"], row["seed"], row["status"]) == ("a", 0, "completed")
    assert row["model.groups"] == 1 and row["model.args.units"] == [8]
    best = stored["history"][stored["best_epoch"] - 1]
    for name in ("val_loss", "val_accuracy"):
        assert row[name] == best[name]
    capfd.readouterr()
    again = run(tmp_path / "a", config)
    assert "(finished already)" in capfd.readouterr().out
    assert again.test == done.test


@pytest.mark.any_backend
def test_of_two_threads_one_waits_for_the_other(tmp_path, monkeypatch):
    alone, at_once = threading.Lock(), []

    def train(config, directory, *rest):
        at_once.append(not alone.acquire(blocking=False))
        time.sleep(0.2)
        alone.release()
        raise gnexp.UserError("enough")

    def call(name):
        with pytest.raises(gnexp.UserError, match="enough"):
            run(tmp_path / name, smoke.get_config())

    monkeypatch.setattr("gnexp.train.train", train)
    threads = [threading.Thread(target=call, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert at_once == [False, False]


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "overrides",
    [
        {"model.group": 4},
        {"model.groups": 5},
        {"model.groups": "x"},
        {"model.args.filter": 3},
        {"data.validation": 1.5},
        {"model.norm": "btach"},
        {"sweep.tuner": "grid"},
    ],
    ids=lambda overrides: next(iter(overrides)),
)
def test_a_mistake_is_answered_as_on_the_command_line(tmp_path, train_here, overrides):
    ((path, value),) = overrides.items()
    refused = train_here(f"--config.{path}={value}", f"--workdir={tmp_path / 'a'}")
    said = refused.stderr.removeprefix("gnexp: ").strip()
    with pytest.raises(UserError) as error:
        gnexp.run("configs/smoke.py", tmp_path / "a", overrides)
    # The one quotes what was typed, the other shows the value.
    assert str(error.value).replace("'", "").removeprefix("--") == said.replace("'", "").removeprefix("--")
    assert not (tmp_path / "a").exists()


@pytest.mark.any_backend
def test_what_is_no_config_or_has_unknown_keys_is_refused(tmp_path):
    from gnexp import train

    config = smoke.get_config()
    config.modle = 1
    for start in (lambda: gnexp.run(config, tmp_path / "a"), lambda: train.train(config, tmp_path / "a")):
        with pytest.raises(UserError, match=r"config\.modle: there is no such key"):
            start()
    with pytest.raises(UserError, match=r"--config=nowhere\.py is not allowed: there is no such file"):
        gnexp.run("nowhere.py", tmp_path / "a")
    with pytest.raises(UserError, match="it must be a ConfigDict or the path of a config file"):
        gnexp.run({"epochs": 1}, tmp_path / "a")
    for overrides in ([("model.groups", 2)], {2: 2}):
        with pytest.raises(UserError, match="it must be a dict of values by dotted path"):
            gnexp.run(smoke.get_config(), tmp_path / "a", overrides)
    with pytest.raises(UserError, match=r"config\.model\.name=<.*by its name .*'configs.smoke:get_config'"):
        gnexp.run(smoke.get_config(), tmp_path / "a", {"model.name": smoke.get_config})
    with pytest.raises(UserError, match=r"config\.model\.groups is searched: change config\.sweep\.space"):
        gnexp.run(smoke_sweep.get_config(), tmp_path / "a", {"model.groups": 2})
    with pytest.raises(UserError, match=r"space\.model\.grups.* is not allowed: .* has no such entry"):
        gnexp.run(smoke_sweep.get_config(), tmp_path / "a", {"sweep.space.model.grups.values": (1, 2)})
    with pytest.raises(UserError, match="holds neither a sweep nor folders with trainings"):
        gnexp.results(tmp_path)
    with pytest.raises(UserError, match="holds no finished training"):
        gnexp.load(tmp_path)


@pytest.mark.any_backend
def test_a_sweep_gives_its_best_trial_and_goes_on_where_it_stopped(tmp_path, capfd):
    done = gnexp.run(tiny(trials=1, executions=2, epochs=1), tmp_path, MLP)
    assert len(done.results()) == 2
    capfd.readouterr()
    done = gnexp.run(tiny(trials=2, executions=2, epochs=1), str(tmp_path), MLP)
    assert "resuming: 1 of 2 trials have ended already" in capfd.readouterr().out
    table = done.results()
    assert table["seed"].tolist() == [0, 1, 0, 1] and table["trial"].tolist() == ["0000", "0000", "0001", "0001"]
    best = table.groupby("trial")["val_accuracy"].mean().idxmax()
    assert done.trial == best
    folder = tmp_path / "trials" / best / "seed-0"
    assert done.training == folder
    assert len(done.history) == 1
    ours, theirs = (
        model.get_weights() for model in (gnexp.load(tmp_path), keras.saving.load_model(folder / files.MODEL))
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.any_backend
def test_the_results_of_a_sweep_have_a_row_for_each_trial_and_seed(tmp_path):
    sweep = made_up.conditional_sweep(tmp_path / "sweep", trials=12)
    table = gnexp.results(sweep)
    rows = []
    for path in sorted(sweep.glob("oracle/trial_*/trial.json")):
        trial = json.loads(path.read_text())
        for result in sorted(sweep.glob(f"trials/{trial['trial_id']}/seed-*/result.json")):
            stored = json.loads(result.read_text())
            if stored["status"] == "success":
                seed = int(result.parent.name.removeprefix("seed-"))
                rows.append((trial, seed, stored))
    done = table[table["seed"].notna()]
    assert len(done) == len(rows) > 20
    for (_, row), (trial, seed, stored) in zip(done.iterrows(), rows, strict=True):
        assert (row["trial"], row["seed"]) == (trial["trial_id"], seed)
        assert row["val_accuracy"] == stored["best_value"] and row["test_loss"] == stored["test_loss"]
        for name, value in trial["hyperparameters"]["values"].items():
            assert row[name] == value
    others = table[table["seed"].isna()]
    assert set(others["status"]) == {"failed"} and others["message"].notna().all()
    assert others["test_loss"].isna().all()
    assert set(table[table["status"] == "running"]["trial"]) == {"0010", "0011"}
    archive.keep(sweep, kept := tmp_path / "kept")
    without = [name for name in table if name != "message"]  # It may hold a path, which is not kept.
    pd.testing.assert_frame_equal(gnexp.results(kept)[without], table[without], check_dtype=False)
    with pytest.raises(UserError, match="holds no models"):
        gnexp.load(kept)


@pytest.mark.any_backend
def test_a_network_that_was_edited_is_imported_anew_and_each_model_keeps_its_own(own):
    folder = own("1.0")
    config, settings = smoke.get_config(), {**SMALL, "model.name": "nets_of_api:build", "model.norm": "keep"}
    first = gnexp.run(config, folder / "a", settings)
    images = np.full((1, 28, 28, 1), 255, np.uint8)
    before = first.model().predict(images, verbose=0)
    own("0.25")
    second = gnexp.run(config, folder / "b", settings)
    times = second.model().layers[-3]
    assert float(times(np.ones(1))[0]) == 0.25
    np.testing.assert_array_equal(gnexp.load(folder / "a").predict(images, verbose=0), before)
    assert float(sys.modules["nets_of_api"].Times()(np.ones(1))[0]) == 0.25
