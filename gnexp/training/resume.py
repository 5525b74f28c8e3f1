"""What a training resumes from, and what is done about files that are damaged.

A checkpoint that is damaged is set aside, and its training begins again: the training, not the damage, decides how a
trial ends. Event files are written anew from the checkpoint, which holds the figures of every epoch.
"""

import dataclasses
import pathlib
from collections.abc import Callable

from gnexp.errors import DamagedError
from gnexp.events import event_files
from gnexp.events.event_files import EventFiles
from gnexp.training.loop import Training
from gnexp.workdir import checkpoint, files
from gnexp.workdir.checkpoint import Checkpoint


@dataclasses.dataclass
class Resumed:
    """What is there of a training.

    Attributes:
      saved: its checkpoint, or None if it begins.
      events: its event files.
      started: whether these hold the session's start, and the curves of the epochs that `saved` holds.
    """

    saved: Checkpoint | None
    events: EventFiles
    started: bool


# Is told in a line which file is damaged, and what comes of it.
Report = Callable[[str], None]


def resume(directory: pathlib.Path, report: Report) -> Resumed:
    """Returns what is there of the training in `directory`; reports and repairs what is damaged."""
    path = directory / files.CHECKPOINT
    try:
        saved = checkpoint.load(path)
        if saved is None:
            return Resumed(None, EventFiles(directory), started=False)
        return Resumed(saved, EventFiles(directory, saved.events, path), started=True)
    except DamagedError as error:
        if error.path == path:
            return begin_again(directory, error, report)
        report(f"{error.path} is damaged ({error.why}): the event files are written anew")
        event_files.forget(directory)
        # A result that was measured is measured again, for the events that go with it.
        return Resumed(dataclasses.replace(saved, result=None), EventFiles(directory), started=False)


def begin_again(directory: pathlib.Path, error: DamagedError, report: Report) -> Resumed:
    """Sets the damaged checkpoint of the training in `directory` aside, so that it begins again."""
    aside = files.set_aside(error.path)
    report(f"{error.path} is damaged ({error.why}): it is kept as {aside.name}, and the training begins again")
    event_files.forget(directory)
    return Resumed(None, EventFiles(directory), started=False)


def restore(training: Training, path: pathlib.Path, saved: Checkpoint) -> None:
    """Restores a training from the checkpoint at `path`; raises DamagedError if it is of another training."""
    try:
        training.restore(saved.arrays, saved.progress)
    except ValueError as error:
        raise DamagedError(path, error) from error
