"""The figures of a small training and of a small sweep with each tuner must equal the recorded ones to the last bit.

Another processor rounds sums differently, and what follows from them may then differ. There the test only compares what
does not depend on the figures. To record new figures, after a change that is meant to change them:

    KERAS_BACKEND=tensorflow python -m tests.commands.golden_test
    KERAS_BACKEND=jax python -m tests.commands.golden_test
"""

import json
import pathlib
import platform
import sys
import tempfile
from typing import Any

import keras
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from configs import smoke
from gnexp.config.stored import record
from gnexp.data.load import load
from gnexp.space import by, choice, floats
from gnexp.training.run import train
from gnexp.workdir import files
from gnexp.workdir.folder import opened
from gnexp.workdir.provenance import provenance
from tests.support import sweeps
from tests.support.pictures import not_drawn

FILE = pathlib.Path(__file__).parents[1] / "golden" / f"figures-{keras.backend.backend()}.json"
CASES = ("smoke", "random", "grid", "bayesian", "hyperband")
_SPACE = {
    "model": {"norm": choice("group", "batch"), "epsilon": floats(1e-7, 1e-2, sampling="log")},
    "optimizer": {"name": choice("adam", "sgd"), "momentum": by("optimizer.name", role="nuisance", sgd=choice(0.5))},
}


def _smoke(directory: pathlib.Path, seeds: int) -> None:
    for seed in range(seeds):
        config = smoke.get_config()
        config.seed = seed
        with opened(directory / f"seed-{seed}", record(config, "digits")) as config, not_drawn():
            train(config, load(config.data), directory / f"seed-{seed}")


def _sweep(tuner: str, directory: pathlib.Path) -> None:
    # Bayesian optimization draws two trials at random for each hyperparameter, and only then looks at the figures.
    space = {} if tuner == "bayesian" else _SPACE
    config = sweeps.tiny(tuner, trials=4, executions=2, epochs=3 if tuner == "hyperband" else 1, **space)
    sweeps.run(config, directory)


def figures(case: str, directory: pathlib.Path, seeds: int = 3) -> dict[str, Any]:
    """Runs one case and returns every figure in its records, its oracle and TensorBoard's files.

    Args:
      case: one of `CASES`.
      directory: an empty folder.
      seeds: of `smoke`, the number of trainings.
    """
    _smoke(directory, seeds) if case == "smoke" else _sweep(case, directory)
    found: dict[str, Any] = {}
    for path in sorted(directory.rglob("*.json")):
        name = path.relative_to(directory).as_posix()
        if path.name == "result.json":
            found[name] = _without_times(files.read_json(path))
        elif path.name == "trial.json":
            state = files.read_json(path)
            found[name] = {
                "values": state["hyperparameters"]["values"],
                "score": state["score"],
                "status": state["status"],
                "metrics": state["metrics"],
            }
    for path in sorted({path.parent for path in directory.rglob("*.tfevents.*")}):
        found[f"{path.relative_to(directory).as_posix()}/events"] = _events(path)
    return json.loads(json.dumps(found))


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(inner) for key, inner in value.items() if key != "seconds"}
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value


def _events(folder: pathlib.Path) -> dict[str, Any]:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    found: dict[str, Any] = {}
    for tag in sorted(events.Tags()["tensors"]):
        plugin = events.SummaryMetadata(tag).plugin_data.plugin_name
        if plugin == "scalars":
            found[tag] = [
                [event.step, tensor_util.make_ndarray(event.tensor_proto).item()] for event in events.Tensors(tag)
            ]
        else:
            found[tag] = [plugin, [event.step for event in events.Tensors(tag)]]
    return found


def _shape(value: Any) -> Any:
    """Returns what rounding does not change: names, steps, counts and kinds."""
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    return [_shape(inner) for inner in value] if isinstance(value, list) else type(value).__name__


def _differing(kept: Any, found: Any, where: str = "") -> list[str]:
    if isinstance(kept, dict) and isinstance(found, dict):
        paths = kept.keys() | found.keys()
        return [line for key in sorted(paths) for line in _differing(kept.get(key), found.get(key), f"{where}/{key}")]
    return [] if kept == found else [f"{where}: {kept} was kept, {found} found"]


def _processor() -> str:
    return f"{provenance()['processor']}, {platform.machine()}"


@pytest.mark.parametrize(
    ("case", "seeds"),
    [pytest.param("smoke", 1, marks=pytest.mark.any_backend)]
    + [pytest.param(case, 3, marks=pytest.mark.slow) for case in CASES],
)
def test_figures_are_those_that_were_kept(case, seeds, tmp_path):
    kept = json.loads(FILE.read_text())
    left_out = tuple(f"seed-{seed}/" for seed in range(seeds, 3))
    expected = {name: value for name, value in kept[case].items() if not name.startswith(left_out)}
    found = figures(case, tmp_path, seeds)
    if kept["processor"] == _processor():
        assert not (differing := _differing(expected, found)), "\n".join(differing[:20])
    elif case in ("smoke", "grid"):
        assert _shape(found) == _shape(expected)
    else:
        assert found.keys() and all("result.json" not in name or found[name]["status"] == "success" for name in found)


if __name__ == "__main__":
    made: dict[str, Any] = {"processor": _processor()}
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            made[name] = figures(name, pathlib.Path(folder))
    FILE.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
    sys.exit(0)
