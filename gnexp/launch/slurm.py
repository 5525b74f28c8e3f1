"""Trains or sweeps on Slurm: prints the job's script, or submits it.

  python -m gnexp.launch.slurm --config=configs/fmnist.py --workdir=/shared/runs/fmnist --cpus_per_node=8 --submit
  python -m gnexp.launch.slurm --config=configs/fmnist_sweep.py --config.sweep.parallel=32 --workdir=/shared/runs/sweep
    --nodes=4 --cpus_per_node=8 --time=1-00

A sweep gets a Ray cluster on the job's nodes, a single training one node. After a preemption, the loss of a node or its
time limit the job is queued again, and the same command resumes.
"""

import pathlib
import re
import shlex

from absl import flags

from gnexp.config import beginning
from gnexp.config.stored import resume_config
from gnexp.errors import UserError
from gnexp.launch import launcher
from gnexp.launch.launcher import COUNT, COUNT_OR_NONE, Order
from gnexp.terminal import places
from gnexp.workdir import code, folder

_ACTIVATE = ".venv/bin/activate"
_LEAST_MINUTES = 10
_TIME = r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}"


def _define() -> None:
    # sbatch takes whatever else a site asks for: `... | sbatch --account=physics --mem=64G`.
    launcher.option("nodes", "1", COUNT, "How many nodes a sweep is spread over.")
    launcher.option("cpus_per_node", None, COUNT, "The CPUs of each node.")
    launcher.option("gpus_per_node", "0", COUNT_OR_NONE, "The GPUs of each node.")
    times = (_TIME, "a time as Slurm writes it: MINUTES, HOURS:MINUTES:SECONDS or DAYS-HOURS, such as 1-12")
    launcher.option("time", "", (f"|{_TIME}", times[1]), "After this time the job is queued again and resumes.")
    launcher.option("partition", "", (r"[\w.,-]*", "a partition, such as gpu"), "The partition of the job.")
    activate = f". {_ACTIVATE}" if pathlib.Path(_ACTIVATE).exists() else ""
    launcher.option(
        "setup", activate, (r"[^\0\n]*", "one line of shell"), "Activates the environment on the first node."
    )


def _script(order: Order) -> str:
    launcher.check_alone("nodes", order)
    _check_time(flags.FLAGS.time)
    launcher.check_fits(order, "nodes", "cpus_per_node", "gpus_per_node")
    directory = places.expanded("--workdir", str(order.workdir))
    places.check_data(order.config.data.directory)
    if stored := folder.check(directory):
        config = resume_config(order.config, stored)
        folder.check_backend(directory, config, stored)
        code.changes(directory, code.of(config, directory), flags.FLAGS.allow_changed_code)
    else:
        beginning.check(order.config)
    parts = [_head(order), _part("slurm_run.sh")]
    if order.sweep:
        parts += [_part("slurm_ray.sh"), 'run "${command[@]}" --ray_address="$address"\n']
    else:
        parts.append('run "${command[@]}"\n')
    return "\n".join(parts)


def _check_time(text: str) -> None:
    """Refuses a time so short that the job would only queue itself again, two minutes before its end."""
    days, _, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")] if text else [0]
    units = (60, 1, 1 / 60) if days or len(parts) == 3 else (1, 1 / 60)
    minutes = 1440 * int(days or 0) + sum(part * unit for part, unit in zip(parts, units, strict=False))
    if 0 < minutes < _LEAST_MINUTES:
        raise UserError(f"--time={text} is not allowed: it must be {_LEAST_MINUTES} minutes or more")


def _head(order: Order) -> str:
    directives = {
        "job-name": "gnexp-" + re.sub(r"[^\w.-]+", "-", order.workdir.name),
        "nodes": flags.FLAGS.nodes,
        "ntasks-per-node": "1",
        "cpus-per-task": flags.FLAGS.cpus_per_node,
        "gpus-per-node": "" if flags.FLAGS.gpus_per_node == "0" else flags.FLAGS.gpus_per_node,
        "time": flags.FLAGS.time,
        "partition": flags.FLAGS.partition,
    }
    lines = ["#!/usr/bin/env bash", f"# A {'sweep' if order.sweep else 'training'}, by `python -m gnexp.launch.slurm`."]
    lines += [f"#SBATCH --{name}={value}" for name, value in directives.items() if value]
    lines += ["#SBATCH --requeue", "#SBATCH --open-mode=append", "#SBATCH --signal=B:USR1@120", ""]
    lines += ["# Slurm starts this on the first node, in the folder that it was submitted from."]
    lines += [f"{flags.FLAGS.setup} || exit"] if flags.FLAGS.setup else []
    lines += [f"export {name}={shlex.quote(value)}" for name, value in order.environment.items()]
    return "\n".join([*lines, *_command(order.command)]) + "\n"


def _command(command: list[str]) -> list[str]:
    """Returns the lines of a bash array `command`, with one flag per line."""
    program, arguments = command[:3], command[3:]
    return ["command=(", f"  {shlex.join(program)}", *(f"  {shlex.quote(argument)}" for argument in arguments), ")"]


def _part(name: str) -> str:
    return pathlib.Path(__file__).with_name(name).read_text()


def _watch(said: str) -> str:
    job = re.search(r"\d+", said)
    return f"tail -F slurm-{job[0]}.out" if job else "squeue --me"


def main() -> None:
    """Runs the command line; see the module's docstring."""
    launcher.launch(_define, _script, ["sbatch"], _watch)


if __name__ == "__main__":
    main()
