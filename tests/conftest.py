"""Shared fixtures: small configs, the command line in its own process, and the folder of the real data."""

import gc
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable

import filelock
import pytest
from absl import flags
from ml_collections import ConfigDict

from configs import fmnist, smoke
from tests.support.pictures import not_drawn

ROOT = pathlib.Path(__file__).parents[1]

# TensorFlow's own number of threads, in this process and in commands alike: what one begins the other ends.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "0")

# Of pytest. A fixture of a module may have run a command before `handlers` sees them.
_HANDLERS = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}

# What TensorFlow says of GPUs in the first test that uses it, whichever that is.
_OF_TENSORFLOW = ("E0000", "I0000", "W0000", "WARNING: All log messages before absl")

# First on PYTHONPATH, this module stands for TensorFlow, JAX or Keras and reports an import of it.
_POISON = "raise SystemExit(f'{__name__} is imported, which takes seconds and is not needed here')"


@pytest.fixture(autouse=True, scope="module")
def frozen() -> None:
    """Spares the garbage collection after each training a walk over all that the tests have imported by now."""
    gc.freeze()


@pytest.fixture(autouse=True)
def handlers():
    """Restores the signal handlers, which a command changes for the rest of its process."""
    yield _HANDLERS
    for signum, handler in _HANDLERS.items():
        signal.signal(signum, handler)


@pytest.fixture
def config() -> ConfigDict:
    """The config of configs/fmnist.py."""
    return fmnist.get_config()


@pytest.fixture
def small() -> ConfigDict:
    """A training of a second: digits, three epochs, one convolution, which compiles in half the time of two."""
    config = smoke.get_config()
    # Two groups of two channels: groups of one would leave the convolution's bias without effect.
    config.model.args.filters, config.model.args.units, config.model.groups = (4,), 8, 2
    return config


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of the real Fashion-MNIST."""
    directory = os.environ.get("GNEXP_DATA_DIR")
    if not directory or not (pathlib.Path(directory) / "fashion-mnist").is_dir():
        pytest.skip("needs the real Fashion-MNIST: set GNEXP_DATA_DIR to the folder that holds fashion-mnist/")
    return pathlib.Path(directory).absolute()


def _poisoned(folder: pathlib.Path, *names: str) -> str:
    for name in names:
        (folder / f"{name}.py").write_text(_POISON)
    return os.pathsep.join([str(folder), str(ROOT)])


@pytest.fixture(scope="session")
def unheavy(tmp_path_factory) -> str:
    """A PYTHONPATH on which tensorflow, jax and keras refuse to be imported."""
    return _poisoned(tmp_path_factory.mktemp("poison"), "tensorflow", "jax", "keras")


@pytest.fixture(scope="session")
def without_tensorflow(tmp_path_factory) -> str:
    """A PYTHONPATH on which tensorflow refuses to be imported."""
    return _poisoned(tmp_path_factory.mktemp("poison"), "tensorflow")


class CommandLine:
    """Runs `python -m gnexp.train` as a user would, from the repository's root."""

    def start(
        self, *arguments: str, config: str = "configs/smoke.py", cwd: pathlib.Path = ROOT, **environment: str
    ) -> subprocess.Popen:
        """Starts the command and returns its process, stdout and stderr as pipes of text."""
        command = [sys.executable, "-m", "gnexp.train", f"--config={config}", *arguments]
        return subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, **options) -> subprocess.CompletedProcess:
        """Runs the command to its end."""
        process = self.start(*arguments, **options)
        stdout, stderr = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@pytest.fixture(scope="session")
def gnexp_train() -> CommandLine:
    """The command line."""
    return CommandLine()


@pytest.fixture(scope="session")
def failing_sweep(tmp_path_factory, worker_id) -> pathlib.Path:
    """The workdir of a finished sweep of six trials with two seeds each, two of which fail; copy it to change it."""
    from tests.support import sweeps  # Imports TensorFlow.

    # One for all of pytest's processes: their folders lie side by side in one.
    shared = tmp_path_factory.getbasetemp()
    shared = shared if worker_id == "master" else shared.parent
    with filelock.FileLock(shared / "failing_sweep.lock"):
        if not (directory := shared / "failing" / "sweep").exists():
            sweeps.run(sweeps.with_failures(), directory)
    return directory


@pytest.fixture
def run_here(monkeypatch, capfd, handlers):
    """Gives a function that runs a command's `main` in this process, which spares starting another."""

    def run(main: Callable[[], None], *argv: str, cwd: pathlib.Path = ROOT) -> subprocess.CompletedProcess:
        known = set(flags.FLAGS)
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", list(argv))
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            for name in set(flags.FLAGS) - known:
                delattr(flags.FLAGS, name)
            flags.FLAGS.unparse_flags()
            for signum, handler in handlers.items():
                signal.signal(signum, handler)
        stdout, stderr = capfd.readouterr()
        stderr = "".join(line for line in stderr.splitlines(keepends=True) if not line.startswith(_OF_TENSORFLOW))
        return subprocess.CompletedProcess(sys.argv, ended.value.code or 0, stdout, stderr)

    return run


@pytest.fixture
def train_here(run_here):
    """Gives a function that runs `gnexp.train` in this process, which has imported TensorFlow already.

    It draws no pictures of a training's mistakes.
    """

    def run(*arguments: str, config: str = "configs/smoke.py", cwd: pathlib.Path = ROOT) -> subprocess.CompletedProcess:
        from gnexp import train

        with not_drawn():
            return run_here(train.main, "gnexp.train", f"--config={config}", *arguments, cwd=cwd)

    return run


@pytest.fixture
def drawn() -> None:
    """Asked for by a test that looks at a page's pictures, which `undrawn` leaves blank otherwise."""


@pytest.fixture
def undrawn(request, monkeypatch) -> None:
    """Leaves the pictures of pages blank, because drawing them takes longer than all else."""
    import matplotlib.figure
    import PIL.Image

    def save(figure, target, **options):
        PIL.Image.new("RGB", (1, 1)).save(target, options["format"])

    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(matplotlib.figure.Figure, "savefig", save)


@pytest.fixture
def figures(monkeypatch) -> list:
    """Returns the list of figures that matplotlib draws, because numbers cannot be read back from pixels."""
    from tests.support.pages import capture  # Imports matplotlib, for a second.

    drawn = []
    capture(monkeypatch, drawn)
    return drawn
