"""What the launchers share: they take the trainer's flags, build its one command, and print or submit what runs it."""

import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence

from absl import app, flags
from ml_collections import ConfigDict

from gnexp.errors import GnexpError, UserError
from gnexp.terminal import command_line, exit
from gnexp.workdir import folder

# Flags that are defined here count as the launcher's own, so that its --help shows them.
flags.disclaim_key_flags()

_EXECUTOR = "config.sweep.executor"


@dataclasses.dataclass(frozen=True)
class Order:
    """What to run on a cluster.

    Attributes:
      config: of the training or the sweep.
      workdir: as it was typed, because it may exist only on the cluster.
      command: the trainer's; that of a sweep lacks the address of its Ray cluster.
      environment: the variables of this environment that the command needs.
      notes: messages for stderr, one line each.
    """

    config: ConfigDict
    workdir: pathlib.PurePosixPath
    command: list[str]
    environment: dict[str, str]
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def sweep(self) -> bool:
        """Whether it is a sweep, and not a single training."""
        return "sweep" in self.config


class _Pattern(flags.ArgumentParser):
    """Accepts text that matches a pattern, and leaves it as it is."""

    def __init__(self, pattern: str, allowed: str):
        self.pattern, self.allowed = pattern, allowed

    def parse(self, argument: str) -> str:
        if not re.fullmatch(self.pattern, argument, re.ASCII):
            raise ValueError(f"it must be {self.allowed}")
        return argument


COUNT = (r"[1-9]\d{0,4}", "a whole number of 1 or more")
COUNT_OR_NONE = (r"0|[1-9]\d{0,4}", "a whole number of 0 or more")


def option(name: str, default: str | None, values: tuple[str, str], what: str) -> None:
    """Defines a flag.

    Args:
      name: without dashes.
      default: None if the flag is required.
      values: a pattern of what is allowed, and the same in words.
      what: a line for --help.
    """
    flags.DEFINE(_Pattern(*values), name, default, what, serializer=flags.ArgumentSerializer())


def check_alone(name: str, order: Order) -> None:
    """Refuses a flag that says how far a sweep is spread if it is given for a single training.

    Raises:
      UserError: it is.
    """
    if flags.FLAGS[name].present and not order.sweep:
        raise UserError(
            f"--{name}={flags.FLAGS[name].value} is not allowed: the config has no sweep, so it is one training"
        )


def check_fits(order: Order, places: str, cpus: str, gpus: str) -> None:
    """Refuses trials that fit into no node or pod and would wait forever, and GPUs that no trial would use.

    Adds a note if `sweep.parallel` differs from the number of trials that there is room for.

    Args:
      order: of a sweep; that of a single training passes.
      places: the name of the flag with the number of nodes, or the largest number of pods.
      cpus: the name of the flag with the number of CPUs in each.
      gpus: the name of the flag with the number of GPUs in each.

    Raises:
      UserError: trials and places do not fit together.
    """
    if not order.sweep:
        return
    in_each = []
    for key, name in {"cpus": cpus, "gpus": gpus}.items():
        needed, there = order.config.sweep.resources[key], flags.FLAGS[name].value
        if needed > int(there):
            raise UserError(f"config.sweep.resources.{key}={needed} is not allowed: it is more than --{name}={there}")
        if int(there) and not needed:
            raise UserError(
                f"--{name}={there} is not allowed: no trial would use them; say what each trial gets, such as "
                f"--config.sweep.resources.{key}=1, or 0.5"
            )
        if needed:
            in_each.append(int(int(there) / needed))
    room, parallel = int(flags.FLAGS[places].value) * min(in_each), order.config.sweep.parallel
    if room != parallel:
        order.notes.append(f"config.sweep.parallel is {parallel}, and there is room for {room} trials at a time")


def launch(
    define: Callable[[], None],
    render: Callable[[Order], str],
    submitter: Sequence[str],
    watch: Callable[[str], str],
) -> None:
    """Runs a launcher's command line.

    Args:
      define: defines the launcher's own flags, by `option`.
      render: returns the text to submit; raises a UserError if the flags do not fit together.
      submitter: the command that reads this text from its standard input.
      watch: returns the command that watches the job, given the output of the submitter.
    """

    def main() -> None:
        command_line.define()
        option(
            "workdir",
            None,
            (r"[^\0\n]+", "a folder on the file system that the whole cluster shares"),
            "Where everything goes.",
        )
        flags.DEFINE_bool("submit", False, "Submit the job instead of printing it.")
        define()
        command_line.show_in_help("workdir", "submit")
        app.run(lambda _: _launch(_order(), render, submitter, watch), flags_parser=_parse)

    exit.run(main)


def _parse(argv: list[str]) -> list[str]:
    rest = command_line.parse(argv)
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if isinstance(flag.parser, _Pattern) and flag.value is None:
            raise UserError(f"--{name} is missing: it must be {flag.parser.allowed}")
    if _EXECUTOR in flags.FLAGS and flags.FLAGS[_EXECUTOR].present:
        raise UserError(f"{_EXECUTOR}={flags.FLAGS[_EXECUTOR].value} is not allowed: a launcher chooses it")
    return rest


def _order() -> Order:
    config, workdir = flags.FLAGS.config, flags.FLAGS.workdir
    folder.check_name(pathlib.PurePosixPath(workdir))
    command = ["python", "-m", "gnexp.train", *command_line.config_arguments(sys.argv), f"--workdir={workdir}"]
    if flags.FLAGS.allow_changed_code:
        command.append("--allow_changed_code")
    if "sweep" in config:
        command.append(f"--{_EXECUTOR}=ray")
    return Order(config, pathlib.PurePosixPath(workdir), command, command_line.environment())


def _launch(
    order: Order, render: Callable[[Order], str], submitter: Sequence[str], watch: Callable[[str], str]
) -> None:
    text = render(order)
    if flags.FLAGS.submit:
        _submit(text, submitter, watch)
    else:
        print(text, end="", flush=True)
    for note in order.notes:
        print(f"gnexp: note: {note}", file=sys.stderr)


def _submit(text: str, submitter: Sequence[str], watch: Callable[[str], str]) -> None:
    if not shutil.which(submitter[0]):
        raise UserError(
            f"--submit needs {submitter[0]}, which is not installed here; leave --submit out to print the job"
        )
    done = subprocess.run(submitter, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GnexpError(f"{submitter[0]} refused the job: {done.stderr.strip()}")
    print(done.stdout.strip())
    print(f"To watch it: {watch(done.stdout)}")
