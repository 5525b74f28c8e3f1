"""Makes a page of tables and pictures from a sweep's workdir, also while the sweep runs.

  python -m gnexp.report --workdir=runs/sweep

The page is `report/README.md` in the workdir; TensorBoard shows its pictures too, as the run "report".
"""

import pathlib
import sys

from absl import app, flags

from gnexp import sweep_report
from gnexp.errors import GnexpError, UserError


def _parse(argv: list[str]) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        raise UserError(str(error)) from error
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is not a flag: the only one is --workdir=FOLDER")
    if not flags.FLAGS.workdir:
        raise UserError("--workdir is missing: it must be the folder of a sweep, such as runs/sweep")
    return rest


def main() -> None:
    """Runs the command line; see the module's docstring."""
    try:
        flags.DEFINE_string("workdir", None, "The folder of a sweep, finished or still running.")
        app.run(
            lambda _: print(sweep_report.write(pathlib.Path(flags.FLAGS.workdir).expanduser())),
            flags_parser=_parse,
        )
    except KeyboardInterrupt:
        print("gnexp: stopped by SIGINT", file=sys.stderr)
        sys.exit(130)
    except (GnexpError, OSError) as error:
        print(f"gnexp: {error}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, GnexpError) else 2)


if __name__ == "__main__":
    main()
