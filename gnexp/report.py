"""Makes a page of tables and pictures from a sweep's workdir, or from a folder of several trainings' workdirs.

  python -m gnexp.report --workdir=runs/sweep
  python -m gnexp.report --workdir=runs/original

The page is made twice in the folder, and can be made while the trainings still run: `report/README.md` has tables and
pictures; `report/index.html` is what TensorBoard's tab Sweeps shows, as one file that needs no server and no network.
The second is also made for a single training, and for a folder that holds sweeps as well as trainings. TensorBoard
shows a sweep's pictures too, as the run "report".

For several trainings, the folder may hold a `reference.csv` with the columns run, epoch, seconds, loss, accuracy,
val_loss and val_accuracy: each of its runs is drawn beside the training whose folder has its name.

  python -m gnexp.report --workdir=runs/original --out=kept/original

copies what a repository keeps of them into another folder, and makes README.md there from these copies only.
"""

import pathlib

from absl import app, flags

from gnexp.errors import UserError
from gnexp.terminal import command_line, exit, places

# All else is imported where it is needed: that takes seconds, in which Ctrl-C would be answered by a traceback.

_KINDS = "folder of a sweep, such as runs/sweep, or of several trainings"


def pages(directory: pathlib.Path) -> list[pathlib.Path]:
    """Writes both pages of a folder, replacing earlier ones, and returns their paths.

    Args:
      directory: any folder that holds sweeps or trainings, at any depth, or that is one. The page in Markdown is left
        out where `report` knows none.

    Raises:
      UserError: the folder holds neither; nothing is written.
    """
    from gnexp.analysis.sweep import is_sweep
    from gnexp.board import html
    from gnexp.board.folders import TRAINING, Folders

    found = Folders(directory).found()
    known = is_sweep(directory) or any(
        kind == TRAINING and "/" not in name and name != "." for name, kind in found.items()
    )
    return [*([report(directory)] if known or not found else []), html.write(directory)]


def report(directory: pathlib.Path) -> pathlib.Path:
    """Writes the page of a folder, replacing an earlier one, and returns its path.

    Args:
      directory: a sweep's workdir, or a folder that holds the workdirs of several trainings.

    Raises:
      UserError: the folder holds neither a sweep nor trainings; nothing is written.
    """
    from gnexp.analysis.sweep import is_sweep
    from gnexp.reports import sweep_page, trainings_page

    made = sweep_page if is_sweep(directory) else trainings_page
    return made.write(directory)


def _parse(argv: list[str]) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        raise UserError(str(error)) from error
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is not a flag: the flags are --workdir=FOLDER and --out=FOLDER")
    if not flags.FLAGS.workdir:
        raise UserError(f"--workdir is missing: it must be the {_KINDS}")
    return rest


def _run(_: list[str]) -> None:
    directory = places.expanded("--workdir", flags.FLAGS.workdir)
    out = places.expanded("--out", flags.FLAGS.out) if flags.FLAGS.out else None
    if out:
        from gnexp.reports import archive

        archive.keep(directory, out)
    for path in [report(out)] if out else pages(directory):
        print(path)


def _main() -> None:
    flags.DEFINE_string("workdir", None, f"The {_KINDS}; finished or still running.")
    flags.DEFINE_string("out", None, "Another folder for what a repository keeps of it, and for the page.")
    command_line.show_in_help("version")
    app.run(_run, flags_parser=_parse)


def main() -> None:
    """Runs the command line; see the module's docstring."""
    exit.run(_main)


if __name__ == "__main__":
    main()
