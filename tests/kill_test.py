"""Kills a training at random instants, from its first import to its last write, until it has ended all the same."""

import collections
import json
import random
import subprocess

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

_KILLS = 20


def _figures(directory) -> dict:
    values = json.loads((directory / "result.json").read_text())
    for figures in [values, *values["history"]]:
        del figures["seconds"]
    return values


def _events(directory) -> collections.Counter:
    """Counts (run, tag, step) over all event files."""
    return collections.Counter(
        (str(path.parent.relative_to(directory)), value.tag, event.step)
        for path in directory.rglob("events.out.tfevents.*")
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    )


@pytest.mark.slow
def test_killed_at_random_instants_it_loses_nothing_and_repeats_nothing(gnexp_train, tmp_path):
    arguments = ["--config.epochs=12", "--config.data.batch_size=4"]
    reference = gnexp_train(*arguments, f"--workdir={tmp_path / 'reference'}")
    assert reference.returncode == 0, reference.stderr

    instants, killed, directory = random.Random(0), 0, tmp_path / "killed"
    while killed < _KILLS:
        process = gnexp_train.start(*arguments, f"--workdir={directory}")
        try:
            # Early kills hit the start-up and the first checkpoint, late ones the epochs and the end.
            process.communicate(timeout=instants.uniform(0.3, 14))
            assert process.returncode == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
            for path in directory.rglob("*.json"):
                json.loads(path.read_text())  # never torn
            continue
        assert _figures(directory) == _figures(tmp_path / "reference")
        assert _events(directory) == _events(tmp_path / "reference")
        directory = tmp_path / f"killed-{killed}"
    assert gnexp_train(*arguments, f"--workdir={directory}").returncode == 0
    assert _figures(directory) == _figures(tmp_path / "reference")
    assert _events(directory) == _events(tmp_path / "reference")
