"""A made-up sweep with conditional values, seeds, failures and running trials, written without training."""

import datetime
import json
import math
import os
import pathlib
from collections.abc import Iterable

import numpy as np

from gnexp.analysis import outcomes
from gnexp.space import by, choice, floats
from tests.support import pages

# What a user's own code may say; it must never reach a page as markup.
MARKUP = '<img src=x onerror="document.title=1"></script><b>&amp;'
BEGAN = 1_767_225_600.0
_SPACE = {
    "model.groups": choice(1, 2, 4, 8),
    "model.norm": choice("group", "layer"),
    "optimizer.name": choice("adam", "sgd", role="nuisance"),
    "optimizer.learning_rate": by(
        "optimizer.name",
        role="nuisance",
        adam=floats(1e-4, 1e-2, sampling="log"),
        sgd=floats(1e-3, 1.0, sampling="log"),
    ),
    "optimizer.momentum": by("optimizer.name", role="nuisance", sgd=floats(0.5, 0.99)),
}


def conditional_sweep(directory: pathlib.Path, trials: int) -> pathlib.Path:
    """Makes a sweep of three seeds a trial; each ninth trial failed, and the last two still run."""
    pages.sweep(directory, _SPACE, executions=3)
    add_trials(directory, range(trials - 2))
    add_trials(directory, range(trials - 2, trials), "RUNNING")
    return directory


def add_trials(directory: pathlib.Path, numbers: Iterable[int], status: str = "COMPLETED") -> None:
    """Adds trials, the same ones for the same numbers, as if two machines with two places each had trained them."""
    for number in numbers:
        rng = np.random.default_rng(number)
        sgd = number % 9 in (1, 3, 5, 8)
        rate = 10 ** (rng.uniform(-3, 0) if sgd else rng.uniform(-4, -2))
        groups = (1, 2, 4, 8)[number % 4]
        norm = ("group", "layer")[number // 4 % 2]
        values = {"model.groups": groups, "model.norm": norm, "optimizer.name": "sgd" if sgd else "adam"}
        values["optimizer.learning_rate"] = rate
        if sgd:
            values["optimizer.momentum"] = rng.uniform(0.5, 0.99)
        middle = 0.92 - 0.02 * (math.log10(rate) + 2.5) ** 2 + 0.01 * math.log2(groups)
        scores = np.clip(middle + rng.normal(0, 0.004, 3), 0.05, 0.99).tolist()
        failed = status == "COMPLETED" and number % 9 == 4
        message = f"seed 0: DivergedError: {MARKUP}" if failed else None
        kept = [] if failed else scores[:1] if status == "RUNNING" else scores
        pages.trial(directory, number, values, kept, "FAILED" if failed else status, message)
        for seed in range(max(1, len(kept))):
            _times(directory / "trials" / f"{number:04}" / f"seed-{seed}", number, seed, message)
        began = BEGAN + number // 4 * 200
        os.utime(directory / "oracle" / f"trial_{number:04}" / "trial.json", (began + 180, began + 180))


def race(directory: pathlib.Path) -> pathlib.Path:
    """Makes a race: of two settings with two seeds each, the first training of the second was the luckiest."""
    pages.sweep(directory, {"model.norm": choice("group", "batch")}, tuner="racing", executions=2)
    scores = {("group", 0): 0.90, ("batch", 0): 0.95, ("group", 1): 0.90, ("batch", 1): 0.70}
    for number, ((norm, seed), score) in enumerate(scores.items()):
        of_race = {outcomes.SEED: seed, outcomes.EPOCHS: 3, outcomes.FIRST_EPOCH: 0}
        of_race |= {outcomes.PROMOTED_FROM: f"{number - 2:04}"} if seed else {}
        pages.trial(directory, number, {"model.norm": norm, **of_race}, [score])
        folder = directory / "trials" / f"{number:04}"
        (folder / "seed-0").rename(folder / f"seed-{seed}")
    return directory


def _times(folder: pathlib.Path, number: int, seed: int, message: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    began = BEGAN + number // 4 * 200 + 60 * seed
    start = datetime.datetime.fromtimestamp(began, datetime.UTC).isoformat(timespec="seconds")
    process = {"started": start, "host": f"node-{number % 2}", "command": ["python", "mine.py"]}
    (folder / "provenance.json").write_text(json.dumps([process]))
    if message:
        (folder / "result.json").write_text(json.dumps({"status": "failure", "message": message}))
        (folder / "traceback.txt").write_text(f"Traceback (most recent call last):\n{message}\n")
    os.utime(folder / "result.json", (began + 55, began + 55))
