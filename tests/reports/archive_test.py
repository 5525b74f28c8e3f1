"""What is kept of a real sweep: enough for its page, and nothing of the machine that it ran on."""

import dataclasses
import json
import pathlib
import platform
import shutil

import pytest

from gnexp import report
from gnexp.analysis import outcomes
from gnexp.analysis.sweep import read_trials
from gnexp.errors import UserError
from gnexp.reports import archive
from gnexp.workdir import files
from tests.support.pages import sweep, trial

pytestmark = pytest.mark.any_backend


def test_a_page_can_be_made_again_of_what_is_kept_of_a_sweep(failing_sweep, tmp_path):
    directory, kept = shutil.copytree(failing_sweep, tmp_path / "sweep"), tmp_path / "kept" / "sweep"
    before = read_trials(directory)
    archive.keep(directory, kept)
    assert {path.name for path in kept.iterdir()} == {"config.json", "provenance.json", "trials.csv"}
    after = read_trials(kept)
    for one, other in zip(before, after, strict=True):
        assert (one.trial_id, one.values, one.status) == (other.trial_id, other.values, other.status)
        assert {path: type(value) for path, value in one.values.items()} == {
            path: type(value) for path, value in other.values.items()
        }
        assert (one.message, one.mean, one.interval) == (other.message, other.mean, other.interval)
        for each, same in zip(one.results, other.results, strict=True):
            history = [{"epoch": epoch["epoch"], "val_accuracy": epoch["val_accuracy"]} for epoch in each.history]
            assert dataclasses.replace(each, history=history) == same
    archive.keep(kept, tmp_path / "kept again")
    assert (tmp_path / "kept again/provenance.json").read_text() == (kept / "provenance.json").read_text()
    page = report.report(directory).read_text()
    again = f"To train the best again:\n\n    python -m gnexp.train --config={directory}/best.py\n\n"
    assert again in page
    assert report.report(kept).read_text() == page.replace(again, "")
    pictures = {path.name: path.read_bytes() for path in (directory / "report").glob("*.png")}
    assert pictures == {path.name: path.read_bytes() for path in (kept / "report").glob("*.png")}
    assert not list(kept.rglob("events.out.tfevents.*"))
    assert not any(str(tmp_path) in path.read_text() for path in kept.rglob("*.*") if path.suffix != ".png")
    (process,) = json.loads((kept / "provenance.json").read_text())
    assert "host" not in process
    assert process["versions"]["python"] == platform.python_version()


def test_a_path_is_kept_without_its_folders(monkeypatch):
    monkeypatch.setenv("HOME", "/home/jane doe")
    texts = {
        "--workdir=/home/jane doe/b/runs/x": "--workdir=x",
        "--workdir=/a/b/runs/x": "--workdir=x",
        "--config=configs/a.py:b": "--config=configs/a.py:b",
        "OSError: '/a/b c' in ~/x/y": "OSError: 'b c' in y",
        "OSError: [Errno 2] ../a/b and 1/2": "OSError: [Errno 2] ../a/b and 1/2",
        "no room in /home/o'brien/My Data/joe/runs, 1 left": "no room in runs, 1 left",
        "in /home/x/y.py, line 3; see /tmp/z k/l": "in y.py, line 3; see l",
        "its node 192.0.2.7 was lost": "its node HOST was lost",
    }
    assert archive._without_folders(list(texts)) == list(texts.values())


def test_a_command_is_kept_without_folders_and_hosts():
    given = {
        "--config=My Data/joe/acme/mine.py": "--config=mine.py",
        "--config=/home/o'brien/x/mine.py:a=b": "--config=mine.py:a=b",
        "--config=../joe/mine.py": "--config=mine.py",
        "--config=configs/fmnist.py:a": "--config=configs/fmnist.py:a",
        "--workdir=~joe/acme, inc/run": "--workdir=run",
        "--workdir=runs/original/in_bs1": "--workdir=runs/original/in_bs1",
        "-config.data.directory=/data/a=b/c": "-config.data.directory=c",
        "--ray_address=head.cluster.example:6379": "--ray_address=HOST:6379",
        "--ray_address=auto": "--ray_address=auto",
        "--config.model.groups=4": "--config.model.groups=4",
    }
    separate = {"--workdir": "--workdir", "/home/joe/My Data/run": "run"}
    separate |= {"--ray_address": "--ray_address", "head:1": "HOST:1", "--dry_run": "--dry_run"}
    command = archive._command(["/opt/python", "-m", "gnexp.train", *given, *separate])
    assert command == ["python", "-m", "gnexp.train", *given.values(), *separate.values()]


@pytest.mark.any_backend
def test_what_would_overwrite_itself_or_holds_nothing_is_refused(tmp_path):
    directory = sweep(tmp_path / "sweep", {})
    with pytest.raises(UserError, match="must be another folder than --workdir"):
        archive.keep(directory, pathlib.Path(f"{directory}/../sweep"))
    with pytest.raises(UserError, match="holds neither a sweep nor folders with trainings"):
        archive.keep(tmp_path / "absent", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "trainings/a").mkdir(parents=True)
    config = files.read_json(directory / "config.json")
    del config["sweep"]
    (tmp_path / "trainings/a/config.json").write_text(json.dumps(config))
    for one, other in ((directory, tmp_path / "trainings"), (tmp_path / "trainings", directory)):
        before = sorted(other.rglob("*"))
        with pytest.raises(UserError, match=f"--out={other} is not allowed: .* kept there"):
            archive.keep(one, other)
        assert sorted(other.rglob("*")) == before
    with pytest.raises(UserError, match=r"trainings/a is a single training: --out keeps a sweep"):
        archive.keep(tmp_path / "trainings/a", tmp_path / "out")
    shutil.copytree(tmp_path / "trainings", tmp_path / "mixed")
    shutil.copytree(directory, tmp_path / "mixed/b")
    with pytest.raises(UserError, match="mixed holds sweeps, b: --out keeps one sweep, or a folder"):
        archive.keep(tmp_path / "mixed", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "Sweeps have pages of their own: b." in report.report(tmp_path / "mixed").read_text()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--out=.*/file is not allowed: File exists"):
        archive.keep(directory, tmp_path / "file")


@pytest.mark.any_backend
def test_text_that_reads_like_something_else_is_kept_as_text(tmp_path):
    directory = sweep(
        tmp_path / "sweep", {"model.norm": {"type": "choice", "values": ("group", "batch"), "role": "scientific"}}
    )
    texts = ("1", "true", "", "null", "1e5", '"a"', "a|b<c>")
    for number, text in enumerate(texts):
        trial(directory, number, {"model.norm": text}, (0.5,))
    archive.keep(directory, tmp_path / "kept")
    assert [each.values for each in read_trials(tmp_path / "kept")] == [{"model.norm": text} for text in texts]
    assert r"a\|b\<c>" in report.report(tmp_path / "kept").read_text()


@pytest.mark.any_backend
def test_a_running_sweep_is_kept_as_far_as_it_is(tmp_path):
    directory = sweep(tmp_path / "sweep", {"model.groups": {"type": "choice", "values": (1, 2), "role": "scientific"}})
    trial(directory, 0, {"model.groups": 1}, (0.5,), message=None)
    trial(directory, 1, {"model.groups": 2}, status="RUNNING")
    trial(directory, 2, {"model.groups": 2}, status="FAILED", message="OSError: no room in /home/somebody/runs, 1 left")
    archive.keep(directory, tmp_path / "out")
    done, running, failed = read_trials(tmp_path / "out")
    assert (done.mean, running.status, running.results) == (0.5, outcomes.RUNNING, ())
    assert (failed.status, failed.message) == (outcomes.FAILED, "OSError: no room in runs, 1 left")
