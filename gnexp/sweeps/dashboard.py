"""The run of a sweep itself in TensorBoard: the experiment record, and a curve of the best score so far."""

import base64
import dataclasses
import pathlib
import secrets
from collections.abc import Sequence
from typing import Annotated, Any

from ml_collections import ConfigDict
from msgspec import Meta

from gnexp.analysis import outcomes
from gnexp.config import objective
from gnexp.config.paths import flatten
from gnexp.errors import DamagedError
from gnexp.events import event_files, hparams, summaries
from gnexp.events.event_files import EventFiles
from gnexp.space import columns
from gnexp.space.columns import Column
from gnexp.space.space import Space
from gnexp.workdir import files

_FILE = "experiment.json"
# What a tuner that chooses the epochs records of a trial beside `tuner/epochs`, which is shown as `epochs`.
_RUNGS = {
    "hyperband": ("tuner/bracket", "tuner/round", outcomes.FIRST_EPOCH),
    "racing": (outcomes.SEED, outcomes.FIRST_EPOCH),
}


@dataclasses.dataclass(frozen=True)
class _Saved:
    """What `experiment.json` holds; the pending events of its `EventFiles.state` are in base64."""

    name: Annotated[str, Meta(min_length=1)]
    noted: Annotated[int, Meta(ge=0)]
    events: dict[str, Any]


def _read(directory: pathlib.Path) -> _Saved | None:
    path = directory / _FILE
    saved = files.read_json(path)
    if saved is None:
        return None
    saved = files.checked(path, saved, _Saved)
    try:
        pending = {run: base64.b64decode(text, validate=True) for run, text in saved.events["pending"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(path, f"events.pending: {error}") from error
    return dataclasses.replace(saved, events={**saved.events, "pending": pending})


def sweep_name(directory: pathlib.Path) -> str | None:
    """Returns the unique name of the sweep in a workdir, or None if there is no sweep.

    Raises:
      UserError: its file is damaged.
    """
    saved = _read(directory)
    return saved and saved.name


class SweepDashboard:
    """A sweep in the dashboard: resumes the one in the workdir, or writes the record of a new one.

    Its events survive any kill, as those of a training do; `experiment.json` is their checkpoint.

    Args:
      directory: the sweep's workdir, opened by the caller.
      config: the sweep's config.
      space: its search space.

    Attributes:
      lost: why the event file was written anew, or an empty string.

    Raises:
      UserError: `experiment.json` is damaged.
    """

    def __init__(self, directory: pathlib.Path, config: ConfigDict, space: Space):
        self._path = directory / _FILE
        self._config = config
        self._space = space
        self._objective = objective.of(flatten(config))
        self._read, self._best = 0, None  # of the scores, how many `note` was given, and the best of them
        self.lost = ""
        # TensorBoard merges groups with the same name, and sweeps in different folders may have the same name.
        self._name, self._noted = f"{directory.resolve().name}-{secrets.token_hex(3)}", 0
        if saved := _read(directory):
            self._name = saved.name
            try:
                self._events, self._noted = EventFiles(directory, saved.events, self._path), saved.noted
                return
            except DamagedError as error:
                if error.path == self._path:
                    raise
                # All that the file held is known: the record, and in the oracle the scores.
                self.lost = f"{error.path} is damaged ({error.why}): it is written anew"
                event_files.forget(directory)
        self._events = EventFiles(directory)
        self._events.add("", hparams.experiment_record(self._columns(), self._metrics()))
        self._save()

    def group(self, trial_id: str) -> str:
        """Returns the name of a trial's session group."""
        # The trial comes first: TensorBoard's column cuts the name short.
        return f"{trial_id} {self._name}"

    def hparams(self, config: ConfigDict, values: dict[str, Any]) -> dict[str, bool | int | float | str]:
        """Returns what the row of a trial shows.

        Args:
          config: the trial's.
          values: those that the oracle chose.
        """
        shown = {**hparams.of(config), **columns.row(self._space, values)}
        del shown["seed"]  # Each session of the group has its own.
        if self._config.sweep.tuner in _RUNGS:
            shown |= {
                outcomes.PROMOTED_FROM: "",
                **{name: value for name, value in values.items() if name.startswith("tuner/")},
            }
            shown["epochs"] = shown.pop(outcomes.EPOCHS)
        return shown

    def _columns(self) -> list[Column]:
        shown = hparams.of(self._space.config(self._config, {}))
        del shown["seed"]
        found = columns.columns(self._space, shown, self._space.first(self._config))
        if rungs := _RUNGS.get(self._config.sweep.tuner):
            epochs = self._config.epochs
            found = [column for column in found if column.name != "epochs"]
            found += [Column("epochs", (0, epochs), interval=True, differs=True)]
            found += [Column(name, (0, epochs), interval=True) for name in rungs]
            found += [Column(outcomes.PROMOTED_FROM, ("",), interval=True)]
        return found

    def _metrics(self) -> dict[str, str]:
        flat = flatten(self._config)
        known = objective.figures(flat) or dict.fromkeys([objective.headline(flat).name])
        names = [*known, "loss"]
        best = {f"best_val_{name}": f"best val_{name}" for name in names}
        best.setdefault(f"best_{self._config.objective}", f"best {self._config.objective}")
        first = f"best_{self._config.objective}"
        metrics = {first: best.pop(first)}
        if self._config.sweep.executions > 1:
            metrics["interval95"] = f"\N{PLUS-MINUS SIGN} 95% of {metrics[first]}"
        metrics["executions"] = "seeds"
        return metrics | best | {f"test_{name}": f"test {objective.words(name)}" for name in names}

    def note(self, scores: Sequence[float | None]) -> None:
        """Extends the curve of the best score so far.

        Args:
          scores: of the trials that have ended since the last call, in that order; None for a failed one.
        """
        before = [self._best] if self._read else []
        curve = outcomes.best_so_far([*before, *scores], self._objective)[len(before) :]
        for step, best in enumerate(curve, self._read + 1):
            if best is not None and step > self._noted:
                self._events.add("", summaries.scalar(f"best_so_far/{self._config.objective}", best), step)
        if curve:
            self._read, self._best = self._read + len(scores), curve[-1]
        if self._noted < self._read:
            self._noted = self._read
            self._save()

    def _save(self) -> None:
        state = self._events.state()
        pending = {run: base64.b64encode(content).decode() for run, content in state["pending"].items()}
        files.write_json(
            self._path, {"name": self._name, "noted": self._noted, "events": {**state, "pending": pending}}
        )
        self._events.write()
