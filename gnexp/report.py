"""Makes a page of tables and pictures from a sweep's workdir, or from a folder of several trainings' workdirs.

  python -m gnexp.report --workdir=runs/sweep
  python -m gnexp.report --workdir=runs/original

The page is `report/README.md` in the folder, and may be made while they run; of a sweep, TensorBoard shows the pictures
too, as the run "report". Of trainings, `reference.csv` in the folder (run, epoch, seconds, loss, accuracy, val_loss,
val_accuracy) is drawn beside those whose folder's name it has as `run`.

  python -m gnexp.report --workdir=runs/original --out=kept/original

puts into another folder what a repository keeps of them, and makes the page there, from nothing but that.
"""

import pathlib
import sys

from absl import app, flags

from gnexp import keep, outcomes, sweep_report, trainings_report
from gnexp.errors import GnexpError, UserError

_KINDS = "the folder of a sweep, such as runs/sweep, or of several trainings"


def report(directory: pathlib.Path) -> pathlib.Path:
    """Writes the page of what lies in a folder, in the place of an earlier one, and returns its path.

    Raises:
      UserError: there is neither a sweep nor a training; nothing is written.
    """
    made = sweep_report if outcomes.is_sweep(directory) else trainings_report
    return made.write(directory)


def _parse(argv: list[str]) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        raise UserError(str(error)) from error
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is not a flag: there are --workdir=FOLDER and --out=FOLDER")
    if not flags.FLAGS.workdir:
        raise UserError(f"--workdir is missing: it must be {_KINDS}")
    return rest


def _run(_: list[str]) -> None:
    directory, out = (folder and pathlib.Path(folder).expanduser() for folder in (flags.FLAGS.workdir, flags.FLAGS.out))
    if out:
        keep.keep(directory, out)
    print(report(out or directory))


def main() -> None:
    """Runs the command line; see the module's docstring."""
    try:
        flags.DEFINE_string("workdir", None, f"{_KINDS[0].upper()}{_KINDS[1:]}, finished or still running.")
        flags.DEFINE_string("out", None, "Where to put what a repository keeps of it, with the page.")
        app.run(_run, flags_parser=_parse)
    except KeyboardInterrupt:
        print("gnexp: stopped by SIGINT", file=sys.stderr)
        sys.exit(130)
    except (GnexpError, OSError) as error:
        print(f"gnexp: {error}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, GnexpError) else 2)


if __name__ == "__main__":
    main()
