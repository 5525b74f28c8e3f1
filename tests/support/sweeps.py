"""Sweeps whose trials take a second, so that tests can run them in their own process."""

import pathlib

from ml_collections import ConfigDict

from configs import smoke_sweep
from gnexp.analysis.outcomes import Outcome
from gnexp.analysis.sweep import read_trials
from gnexp.config.stored import record, to_json
from gnexp.config.validation import validate
from gnexp.data.load import load
from gnexp.space import by, choice, floats
from gnexp.sweeps import sweep
from gnexp.workdir.folder import opened

TOO_FAST = 1e25  # a learning rate at which the loss becomes NaN


def tiny(
    tuner: str = "grid", trials: int = 6, executions: int = 1, epochs: int = 2, parallel: int = 1, **space: dict
) -> ConfigDict:
    """Returns the config of a sweep of tiny trainings over a table given by section; by default of epsilon."""
    config = smoke_sweep.get_config()
    config.epochs = epochs
    # All batches have one size; otherwise each training would compile its step twice.
    config.data.train_size, config.data.validation, config.data.batch_size = 96, 48, 32
    config.model.args.filters, config.model.args.units, config.model.groups = (4,), 8, 1
    config.sweep.tuner, config.sweep.max_trials, config.sweep.executions = tuner, trials, executions
    config.sweep.own_first = False
    config.sweep.parallel, config.sweep.executor = parallel, "processes" if parallel > 1 else "serial"
    config.sweep.space = ConfigDict(space or {"model": {"epsilon": floats(1e-7, 1e-2, sampling="log")}})
    validate(config)
    return config


def with_failures() -> ConfigDict:
    """Returns the config of a sweep of six trials with two seeds each, of which the third and the fourth diverge.

    Its momentum depends on the optimizer's name.
    """
    return tiny(
        executions=2,
        model={"groups": choice(1, 2)},
        optimizer={
            "learning_rate": choice(1e-2, TOO_FAST),
            "name": choice("adam", "sgd"),
            "momentum": by("optimizer.name", role="nuisance", sgd=choice(0.5)),
        },
    )


def config_file(folder: pathlib.Path, config: ConfigDict) -> str:
    """Writes a config file that gives `config`, for the command line, and returns its path."""
    path = folder / "sweep.py"
    values = to_json(config)
    path.write_text(f"from gnexp.config import from_json\n\n\ndef get_config():\n    return from_json({values!r})\n")
    return str(path)


def run(config: ConfigDict, directory: pathlib.Path, ray_address: str | None = None) -> list[Outcome]:
    """Runs a sweep to its end and returns its trials."""
    with opened(directory, record(config, "digits")) as config:
        sweep.run(config, load(config.data), directory, ray_address)
    return read_trials(directory)
