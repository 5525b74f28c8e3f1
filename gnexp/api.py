"""gnexp from Python: `gnexp.run`, `gnexp.load` and `gnexp.results`.

Everything is imported where it is used, so that looking at these names costs nothing.
"""

from __future__ import annotations

import functools
import os
import pathlib
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

# Seeds, the precision and the names of layers belong to the process: two trainings at once would change each other.
_RUNNING = threading.RLock()

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from ml_collections import ConfigDict


class Run:
    """A finished training, or the best trial of a sweep: of its first seed, whose model is kept beside the others'.

    Attributes:
      workdir: of the training or the sweep.
      training: the workdir of the training: that of the trial's seed in a sweep.
      trial: the best trial's four digits; None for a single training.
    """

    def __init__(self, workdir: pathlib.Path):
        from gnexp.analysis import rows

        self.workdir = workdir
        self.training, self.trial = rows.best_training(workdir)

    @functools.cached_property
    def history(self) -> pd.DataFrame:
        """The figures of each epoch, by its number."""
        import pandas as pd

        from gnexp.workdir import result

        return pd.DataFrame(result.finished(self.training).history).set_index("epoch")

    @functools.cached_property
    def test(self) -> dict[str, float]:
        """The test figures of the best epoch's weights, by name."""
        from gnexp.workdir import result

        return dict(result.finished(self.training).test)

    def model(self, safe_mode: bool = True) -> keras.Model:
        """Returns the network with the weights of the best epoch; it returns logits. See `gnexp.load`."""
        return _load(self.training, safe_mode)

    def results(self) -> pd.DataFrame:
        """Returns a row for each trial and seed; see `gnexp.results`."""
        return results(self.workdir)

    def __repr__(self) -> str:
        trial = f", trial={self.trial!r}" if self.trial else ""
        return f"Run({str(self.workdir)!r}{trial}, test={self.test})"


def run(
    config: ConfigDict | str | pathlib.Path,
    workdir: str | pathlib.Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    ray_address: str | None = None,
    allow_changed_code: bool = False,
) -> Run:
    """Runs the training or the sweep of a config, as `python -m gnexp.train` does; the same call resumes it.

    A call in another thread waits until this one has ended.

    Example:
        >>> run = gnexp.run("configs/smoke.py", "runs/smoke", {"model.groups": 2})

    Args:
      config: a config, which is left as it is, or the path of a config file.
      workdir: where everything goes; by default a new folder under runs/.
      overrides: values that replace the config's, by dotted path.
      ray_address: HOST:PORT of a Ray cluster for a sweep, or "auto"; by default one is started if it is needed.
      allow_changed_code: resume although your own code has changed, and record that.

    Raises:
      UserError: a mistake in the config, its place or the code that it names, in one line.
      GnexpError: the training or the sweep failed, or was stopped by Ctrl-C; the same call resumes it.
    """
    from gnexp import train
    from gnexp.functions import load
    from gnexp.terminal import overrides as given
    from gnexp.terminal import places
    from gnexp.workdir import code

    asked = given.config_of(config, overrides or {})
    directory = None if workdir is None else places.expanded("--workdir", str(workdir))
    with _RUNNING:
        if load.forget_changed(code.of(asked)):
            from gnexp.training import memory

            memory.forget_networks()
        return Run(train.train(asked, directory, ray_address, allow_changed_code))


def load(workdir: str | pathlib.Path, safe_mode: bool = True) -> keras.Model:
    """Returns the best model of a training or a sweep, with layers of your own, too; it returns logits.

    Args:
      workdir: of the training or the sweep, which may still be running.
      safe_mode: refuse a `Lambda` layer of Python code, as Keras does: it runs what the file holds.

    Raises:
      UserError: there is no finished training, or its model cannot be loaded.
    """
    from gnexp.analysis import rows
    from gnexp.terminal import places

    return _load(rows.best_training(places.expanded("--workdir", str(workdir)))[0], safe_mode)


def _load(directory: pathlib.Path, safe_mode: bool) -> keras.Model:
    from gnexp.terminal.stderr import native_stderr

    with native_stderr(pathlib.Path(os.devnull)):
        from gnexp.models import saved

        return saved.load(directory, safe_mode)


def results(workdir: str | pathlib.Path) -> pd.DataFrame:
    """Returns a row for each trial and seed of a sweep, or for each training.

    The columns are what identifies it, its hyperparameters by dotted path, the validation figures of its best epoch
    (`val_...`), the test figures of that epoch's weights (`test_...`), and the seconds that its epochs took. What has
    not ended has no figures yet; what has failed has a message.

    Args:
      workdir: of a sweep, of a training, or a folder of several trainings' workdirs; also what a repository keeps of
        one (`python -m gnexp.report --out`).

    Raises:
      UserError: there is none, or a file is damaged.
    """
    import pandas as pd

    from gnexp.analysis import rows
    from gnexp.terminal import places

    found = rows.read(places.expanded("--workdir", str(workdir)))
    table = pd.DataFrame([row.flat() for row in found], columns=rows.columns(found))
    return table.astype({name: "Int64" for name in ("seed", "best_epoch") if name in table})
