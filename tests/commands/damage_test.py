"""Damages every file of a workdir, then runs the commands: no traceback, and no damage that passes for a result.

A command may refuse in one line that names the file, or repair and say so. Where it ends well, the outcome is that of
the undamaged workdir. A case depends only on its number: `-k "[17]"` repeats one.
"""

import dataclasses
import json
import pathlib
import random
import shutil
import sys

import pytest
from absl import flags
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from gnexp import report, train
from gnexp.analysis.sweep import read_trials
from gnexp.errors import DamagedError
from gnexp.events.event_files import EventFiles
from gnexp.models import saved
from gnexp.workdir import checkpoint, files, result
from tests.support.pictures import not_drawn

pytestmark = pytest.mark.any_backend

_FAST, _ALL = 24, 500
_TINY = (
    "--config.data.train_size=96",
    "--config.data.validation=48",
    "--config.model.args.filters=4",
    "--config.model.args.units=8",
)
_SWEEP = (
    *_TINY,
    "--config.epochs=2",
    "--config.sweep.tuner=grid",
    "--config.sweep.max_trials=3",
    "--config.sweep.executions=1",
    "--config.sweep.space.model.groups.values=1,2,4",
    "--config.sweep.space.data.batch_size.values=48",
    "--config.sweep.space.optimizer.name.values=adam",
)
_COMMANDS = {
    "training": ("configs/smoke.py", (*_TINY, "--config.epochs=3", "--config.data.batch_size=48")),
    "sweep": ("configs/smoke_sweep.py", _SWEEP),
}
# A kill after the first epoch was saved, and before its events were written; in a sweep, in its second trial.
_SAVES = {"training": 2, "sweep": 6}


class _Killed(BaseException):
    """Stands for kill -9."""


def _run(main, *argv: str) -> int:
    """Runs a command in this process, and returns its exit code."""
    known, before = set(flags.FLAGS), sys.argv
    sys.argv = list(argv)
    try:
        with not_drawn():
            main()
    except SystemExit as ended:
        return ended.code or 0
    finally:
        sys.argv = before
        for name in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()
    return 0


def _train(kind: str, directory: pathlib.Path) -> int:
    config, tiny = _COMMANDS[kind]
    return _run(train.main, "gnexp.train", f"--config={config}", *tiny, f"--workdir={directory}")


def _killed(kind: str, directory: pathlib.Path) -> None:
    real, saves = checkpoint.save, []

    def save(*arguments):
        real(*arguments)
        saves.append(arguments)
        if len(saves) == _SAVES[kind]:
            raise _Killed

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checkpoint, "save", save)
        # A kill runs no handlers, so that no failure is recorded.
        patched.setattr(EventFiles, "write_failure", lambda *_: None)
        patched.setattr(result, "write_failure", lambda *_: None)
        with pytest.raises(_Killed):
            _train(kind, directory)


def _account(kind: str, directory: pathlib.Path) -> list:
    """Returns what a command concluded, without durations."""
    if kind == "sweep":
        outcomes = read_trials(directory)
        return [(each.trial_id, each.values, each.status, each.message, _plain(each.results)) for each in outcomes]
    return _plain([result.finished(directory)])


def _plain(results) -> list:
    histories = [[{**epoch, "seconds": 0} for epoch in done.history] for done in results]
    return [
        dataclasses.replace(done, seconds=0, history=history) for done, history in zip(results, histories, strict=True)
    ]


def _curves(directory: pathlib.Path) -> dict:
    """Returns the scalars that TensorBoard shows of a workdir."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(directory)).Reload()
    return {
        (run, tag): [(event.step, event.tensor_proto.float_val[:]) for event in multiplexer.Tensors(run, tag)]
        for run, found in multiplexer.Runs().items()
        for tag in found["tensors"]
        if tag.startswith(("epoch_", "best_", "test_"))
    }


@dataclasses.dataclass
class _Workdirs:
    """A finished and a killed workdir of each kind, and what comes of them if nothing is damaged."""

    folder: pathlib.Path
    accounts: dict
    curves: dict


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    root = pathlib.Path(__file__).parents[2]
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(root)
        accounts, curves = {}, {}
        for kind in _COMMANDS:
            assert _train(kind, folder / f"{kind}-finished") == 0
            _killed(kind, folder / f"{kind}-killed")
            accounts[kind] = _account(kind, folder / f"{kind}-finished")
            curves[kind] = _curves(folder / f"{kind}-finished")
    return _Workdirs(folder, accounts, curves)


# Damage


def _by_byte(chance: random.Random, path: pathlib.Path) -> str:
    content = bytearray(path.read_bytes())
    place, kind = chance.randrange(len(content) + 1), chance.choice(["flip", "cut", "zeros", "more", "hole", "empty"])
    match kind:
        case "flip" if content:
            content[place % len(content)] ^= 1 << chance.randrange(8)
        case "cut":
            del content[place:]
        case "zeros":
            content[place : place + 64] = bytes(len(content[place : place + 64]))
        case "more":
            content += chance.randbytes(20)
        case "hole":
            del content[place : place + chance.randint(1, 64)]
        case _:
            content.clear()
    path.write_bytes(content)
    return f"{kind} at {place}"


_DEEP = "DEEP"
_WRONG = (None, [], {}, True, "x", float("nan"), float("inf"), 10**400, _DEEP)


def _by_field(chance: random.Random, path: pathlib.Path) -> str:
    """Changes one field of a JSON file to what it cannot be, with the right checksum or without one."""
    value = files.read_json(path)
    record = chance.choice(value) if isinstance(value, list) and value else value
    holder, key = record, None
    while isinstance(holder, dict) and holder:
        key = chance.choice(sorted(holder))
        if not isinstance(holder[key], dict) or not holder[key] or chance.random() < 0.3:
            break
        holder = holder[key]
    how = chance.choice(["missing", "wrong", "wrong", "wrong", "unknown", "newer", "root"])
    new = chance.choice([wrong for wrong in _WRONG if key is None or type(wrong) is not type(holder[key])])
    if key is None or how == "root":
        value = new
    elif how == "missing":
        del holder[key]
    elif how == "wrong":
        holder[key] = new
    elif how == "unknown":
        record["status_"] = 1
    text = json.dumps(value)
    if how == "newer" and record:
        text = text.replace("{", '{"format": 99, ', 1)
    elif chance.random() < 0.5:
        try:
            files.write_json(path, value)
            text = path.read_text()
        except (ValueError, TypeError):
            pass  # NaN has no checksum
    path.write_text(text.replace(f'"{_DEEP}"', "[" * 100_000 + "]" * 100_000))
    return f"{how}: {key} = {str(new)[:20]}"


def _damage(chance: random.Random, directory: pathlib.Path) -> tuple[pathlib.Path, str]:
    paths = sorted(
        (path for path in directory.rglob("*") if path.is_file() and path.name != ".lock"),
        key=lambda path: str(path.relative_to(directory)),
    )
    # Of several alike, such as the files of three trials, each is a small part.
    kinds = sorted({path.suffix if path.suffix in (".json", ".npz", ".keras", ".py") else "other" for path in paths})
    weights = {".json": 6, ".npz": 2, ".keras": 0.3, ".py": 0.6}
    kind = chance.choices(kinds, [weights.get(kind, 1) for kind in kinds])[0]
    path = chance.choice([path for path in paths if path.suffix == kind or kind == "other"])
    by_field = path.suffix == ".json" and chance.random() < 0.6
    return path, (_by_field if by_field else _by_byte)(chance, path)


def _check(number: int, workdirs: _Workdirs, tmp_path, capfd) -> str:
    chance = random.Random(number)
    # In the first ones, few have to train.
    kind = chance.choice(["training", "sweep"])
    state = "killed" if chance.random() < (0.15 if number < _FAST else 0.5) else "finished"
    directory = tmp_path / f"{kind}-{state}"
    shutil.copytree(workdirs.folder / directory.name, directory)
    canary = set(tmp_path.iterdir())
    path, what = _damage(chance, directory)
    case = f"case {number}: {path.relative_to(tmp_path)}, {what}"
    commands = {"train": lambda: _train(kind, directory)}
    if chance.random() < (0.25 if number < _FAST else 0.5):
        shown = directory if kind == "sweep" else tmp_path
        reported = {"report": lambda: _run(report.main, "gnexp.report", f"--workdir={shown}")}
        commands = {**reported, **commands} if chance.random() < 0.5 else {**commands, **reported}
    codes = []
    for name, command in commands.items():
        capfd.readouterr()
        code = command()  # a traceback fails the test here
        stdout, stderr = capfd.readouterr()
        codes.append(f"{name} {code}")
        assert code in (0, 2), f"{case}: {name} ended with {code}: {stderr}"
        if code == 2:
            assert stderr.startswith("gnexp: "), f"{case}: {stderr}"
            assert len(stderr.splitlines()) == 1, f"{case}: {stderr}"
            assert len(stderr) < 1500, f"{case}: {stderr}"
            # Where a stored config has another value, the line names its key.
            assert path.name in stderr or (path.name == "config.json" and "config." in stderr), f"{case}: {stderr}"
        elif name == "train":
            assert not stderr, f"{case}: {stderr}"
            assert _account(kind, directory) == workdirs.accounts[kind], f"{case}: {stdout}"
            if state == "killed" and (path.suffix in (".npz", ".json") or kind == "training"):
                assert _curves(directory) == workdirs.curves[kind], f"{case}: {stdout}"
    assert set(tmp_path.iterdir()) - {tmp_path / "report"} == canary, case
    print(f"{case}: {', '.join(codes)}")
    return case


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(pathlib.Path(__file__).parents[2])


@pytest.mark.parametrize("number", range(_FAST))
def test_no_damage_passes_for_a_result(number, workdirs, tmp_path, capfd):
    _check(number, workdirs, tmp_path, capfd)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(_FAST, _ALL))
def test_no_damage_passes_for_a_result_in_hundreds_of_cases(number, workdirs, tmp_path, capfd):
    _check(number, workdirs, tmp_path, capfd)


# What damage comes to


@pytest.fixture
def killed(workdirs, tmp_path):
    """Gives a function that copies the killed workdir of a kind."""
    return lambda kind: pathlib.Path(shutil.copytree(workdirs.folder / f"{kind}-killed", tmp_path / kind))


def _checkpoint_of(kind: str, directory: pathlib.Path) -> pathlib.Path:
    return (directory if kind == "training" else directory / "trials/0001/seed-0") / files.CHECKPOINT


def _cut(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _misshape(path: pathlib.Path) -> None:
    """Gives an array another shape, in an archive that is whole."""
    found = checkpoint.load(path)
    found.arrays["model.0"] = found.arrays["model.0"].reshape(-1)
    checkpoint.save(path, found)


def _lead_out(path: pathlib.Path) -> None:
    found = checkpoint.load(path)
    found.events["name"] = str(path.parent.parent / ".." / ".bashrc")
    checkpoint.save(path, found)


@pytest.mark.parametrize(("kind", "damage"), [("sweep", _cut), ("training", _misshape), ("sweep", _lead_out)])
def test_a_damaged_checkpoint_is_said_and_set_aside_and_its_training_begins_again(
    killed, workdirs, capfd, kind, damage
):
    directory = killed(kind)
    path = _checkpoint_of(kind, directory)
    damage(path)
    content, home = path.read_bytes(), list(directory.parent.iterdir())
    capfd.readouterr()
    assert _train(kind, directory) == 0
    (said,) = [line for line in capfd.readouterr().out.splitlines() if "is damaged (" in line]
    assert f"{path} is damaged" in said and "kept as state.npz.damaged, and the training begins again" in said
    assert _account(kind, directory) == workdirs.accounts[kind]
    assert _curves(directory) == workdirs.curves[kind]
    assert list(directory.parent.iterdir()) == home
    if kind == "training":
        assert path.with_name("state.npz.damaged").read_bytes() == content


@pytest.mark.parametrize(("kind", "where"), [("training", ""), ("sweep", "trials/0001/seed-0"), ("sweep", "")])
def test_a_damaged_event_file_is_written_anew_and_no_epoch_is_trained_again(killed, workdirs, capfd, kind, where):
    directory = killed(kind)
    (path,) = (directory / where).glob("events.out.tfevents.*")
    path.write_bytes(b"x" + path.read_bytes()[1:])
    capfd.readouterr()
    assert _train(kind, directory) == 0
    said = capfd.readouterr().out
    assert f"{path} is damaged (its checksum is wrong)" in said
    assert "begins again" not in said
    assert _account(kind, directory) == workdirs.accounts[kind]
    assert _curves(directory) == workdirs.curves[kind]


@pytest.mark.parametrize(
    "events", [{"name": "/tmp/.bashrc"}, {"name": "../.bashrc"}, {"pending": {"": "YWxpYXMgbHM9cm0="}}], ids=str
)
def test_a_sweep_whose_events_would_lead_elsewhere_is_refused(killed, capfd, events):
    directory = killed("sweep")
    path = directory / "experiment.json"
    record = files.read_json(path)
    record["events"] |= events
    files.write_json(path, record)
    capfd.readouterr()
    assert _train("sweep", directory) == 2
    assert capfd.readouterr().err.startswith(f"gnexp: {path} is damaged (")


def test_a_model_with_a_byte_changed_is_not_loaded(workdirs, tmp_path):
    directory = pathlib.Path(shutil.copytree(workdirs.folder / "training-finished", tmp_path / "training"))
    path = directory / files.MODEL
    content = bytearray(path.read_bytes())
    content[content.index(b"model.weights.h5") + 5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=f"{path} is damaged .the checksum of model.weights.h5 is wrong"):
        saved.load(directory)
