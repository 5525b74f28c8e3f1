"""Lists the commands: `python -m gnexp`."""

import sys

from gnexp import __version__

_COMMANDS = """gnexp {version}: does Group Normalization help here?

  python -m gnexp.train --config=FILE [--workdir=FOLDER]   train a network, or run a sweep
  python -m gnexp.report --workdir=FOLDER                  make a page of a sweep, or of several trainings
  python -m gnexp.launch.slurm --config=FILE ...           print or submit a job for Slurm
  python -m gnexp.launch.kuberay --config=FILE ...         print or submit a job for Kubernetes
  tensorboard --logdir=FOLDER                              look at either, also while it runs

The gnexp and launch commands take --help."""


def main() -> None:
    """Prints the commands, or only the version for --version."""
    match sys.argv[1:]:
        case [] | ["--help" | "-h" | "help"]:
            print(_COMMANDS.format(version=__version__))
        case ["--version"]:
            print(f"gnexp {__version__}")
        case [argument, *_]:
            print(f"gnexp: {argument!r} is not a command; python -m gnexp lists the commands", file=sys.stderr)
            sys.exit(2)


if __name__ == "__main__":
    main()
