"""The command line of a training: reads `--config` and its overrides, and reports every mistake in one line.

Nothing here imports TensorFlow, so that mistakes are reported at once.
"""

import itertools
import os
import pathlib
import re
import shlex
import sys
from collections.abc import Collection, Sequence

from absl import flags, logging
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

from gnexp.config import open_sections
from gnexp.config.paths import is_of_space
from gnexp.config.schema import BACKENDS, FIELDS, field, is_key
from gnexp.config.upgrade import renamed
from gnexp.config.validation import unknown_key, validate
from gnexp.errors import UserError, first_line
from gnexp.space.parse import parse_space
from gnexp.terminal.config_reader import ConfigReader

_BACKEND, _DATA, _RAY_TOKEN = "KERAS_BACKEND", "GNEXP_DATA_DIR", "RAY_AUTH_MODE"


def define() -> None:
    """Defines --config, which depends on the command line, and --allow_changed_code.

    Raises:
      UserError: there is a mistake on the command line.
    """
    check_environment()
    sys.argv = [re.sub(r"^(--?(?:no)?config\.)([^=]+)", _renamed, each) for each in sys.argv]
    _check_flags(sys.argv[1:])
    config_flags.DEFINE_config_file(
        "config",
        help_string="FILE of the experiment, or FILE:ARGUMENT; --config.KEY=VALUE changes a value (docs/configs.md).",
    )
    flags.FLAGS["config"].parser = ConfigReader("config")
    flags.DEFINE_bool("allow_changed_code", False, "Resume although your own code has changed, and record that.")
    show_in_help("config", "allow_changed_code", "version")


def _renamed(flag: re.Match) -> str:
    return flag[1] + renamed(flag[2])


def show_in_help(*names: str) -> None:
    """Shows flags in the command's --help, wherever they were defined."""
    for name in names:
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])


def asks_for_help(argv: Sequence[str]) -> bool:
    """Tells whether a command line has --help, or one of its kin."""
    return any(re.match(r"--?help", argument) for argument in argv)


def environment() -> dict[str, str]:
    """Returns the environment variables that are needed to run the same command again."""
    return {name: os.environ[name] for name in (_BACKEND, _DATA, _RAY_TOKEN) if os.environ.get(name)}


def same_command(directory: pathlib.Path) -> str:
    """Returns the command, as typed in a shell, that resumes what this process began in `directory`."""
    variables = [f"{name}={shlex.quote(value)}" for name, value in environment().items()]
    arguments = sys.orig_argv + ([] if flags.FLAGS.workdir else [f"--workdir={directory}"])
    return " ".join([*variables, shlex.join(arguments)])


def parse(argv: list[str]) -> list[str]:
    """Parses the command line for `app.run`; raises UserError for a mistake in it or in the config file."""
    logging.set_verbosity(logging.ERROR)  # ml_collections would warn about what is refused below in better words.
    try:
        rest = flags.FLAGS(argv)
    except SystemExit as error:
        if asks_for_help(argv):
            raise
        raise _unreadable(error) from error
    except flags.IllegalFlagValueError as error:
        value = re.match(r"flag --(config\.([\w.]+)=.*?): ", str(error))
        if value and is_of_space(value[2]):
            hint = f"it is an entry: name one of its parts, such as config.{value[2]}.role"
            raise UserError(f"{value[1]} is not allowed: {hint}") from error
        if not str(error).startswith("flag --config"):
            raise UserError(str(error)) from error
        if value and (known := field(value[2], flags.FLAGS["config"].parser.named)):
            raise UserError(f"{value[1]} is not allowed: it must be {known.allowed}") from error
        raise _unreadable(error) from error
    except flags.Error as error:
        raise UserError(str(error)) from error
    except UserError:
        raise
    except (AttributeError, KeyError) as error:
        raise _not_there(argv, error) from error
    except Exception as error:  # of ml_collections
        raise _unreadable(error) from error
    if not flags.FLAGS["config"].present:
        raise UserError("--config is missing: it must be the path of a config file, such as configs/fmnist.py")
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is not a flag: flags begin with --; --help lists them")
    given = [name.removeprefix("config.") for name in flags.FLAGS if flags.FLAGS[name].present]
    check(flags.FLAGS.config, given, flags.FLAGS["config"].parser.notes)
    return rest


def check(config: ConfigDict, given: Collection[str], notes: Sequence[str]) -> None:
    """Checks a config and what replaced values of it, and then prints notes on stderr.

    Args:
      config: a whole config.
      given: the dotted paths whose values were replaced.
      notes: what `config_reader.complete` returned.

    Raises:
      UserError: naming the key, the value and what is allowed.
    """
    validate(config)
    if "sweep" in config:
        for path in parse_space(config).paths:
            if path in given:
                raise UserError(f"config.{path} is searched: change config.sweep.space.{path} instead")
    for note in notes:
        print(f"gnexp: note: {note}", file=sys.stderr, flush=True)


def config_arguments(argv: list[str]) -> list[str]:
    """Returns --config and its overrides, as they were typed, from a parsed command line."""
    found = []
    arguments = iter(argv[1:])
    for argument in arguments:
        name, given, _ = argument.lstrip("-").partition("=")
        if not given and name in flags.FLAGS and not flags.FLAGS[name].boolean:
            argument += f"={next(arguments)}"
        if re.match(r"(no)?config(\.|$)", name):
            found.append(argument)
    return found


def check_environment() -> None:
    """Raises UserError if the environment asks for a backend that gnexp does not have."""
    backend = os.environ.get(_BACKEND, BACKENDS[0])
    if backend not in BACKENDS:
        raise UserError(f"{_BACKEND}={backend} is not allowed: it must be {' or '.join(BACKENDS)}")


def _check_flags(argv: list[str]) -> None:
    """Refuses what absl and ml_collections would report in many lines, or not at all."""
    seen = set()
    for argument, following in itertools.zip_longest(argv, argv[1:], fillvalue=""):
        if argument.startswith(("--flagfile", "-flagfile")):
            raise UserError(f"{argument} is not allowed: put many values into a config file instead")
        if named := re.match(r"--?(?:no)?config\.([^=]*)", argument):
            if (not is_key(named[1]) and not is_of_space(named[1])) or open_sections.is_whole(named[1]):
                raise unknown_key(named[1])
            _check_digits(named[1], argument.partition("=")[2] if "=" in argument else following)
            # absl would join the two tuples into a longer one.
            several = FIELDS[named[1]].several if named[1] in FIELDS else named[1].endswith(".values")
            several = several or open_sections.of(named[1]) is not None
            if several and named[1] in seen:
                raise UserError(f"--config.{named[1]} is given twice")
            seen.add(named[1])
        elif given := re.fullmatch(r"--?config(?:=(.*))?", argument, re.DOTALL):
            check_file(following if given[1] is None else given[1])
            if "" in seen:
                raise UserError("--config is given twice")
            seen.add("")


def check_file(path: str) -> None:
    """Raises UserError if there is no file such as `FILE` or `FILE:ARGUMENT` names."""
    name = path.partition(":")[0]
    if not pathlib.Path(name).is_file():
        raise UserError(f"--config={_printable(name)} is not allowed: there is no such file")


def _check_digits(path: str, text: str) -> None:
    """Refuses the digits of other scripts, which Python takes for numbers, where a key does not hold text."""
    foreign = any(letter.isdecimal() and not letter.isascii() for letter in text)
    if foreign and (path not in FIELDS or not FIELDS[path].accepts(text)):
        raise UserError(f"--config.{path}={text} is not allowed: its digits must be 0 to 9")


def _printable(path: str) -> str:
    return path if path.isprintable() else repr(path)[1:-1]


def _not_there(argv: list[str], error: AttributeError | KeyError) -> UserError:
    """Returns the error for a flag that names a key of a sweep which the config lacks, or for a bug in its file."""
    missing = re.match(r"\W*(\w+)", str(error.args[0] if error.args else ""))
    for argument in argv:
        keys = re.match(r"--?(?:no)?config\.(sweep\.[^=]*)", argument)
        if missing and keys and missing[1] in keys[1].split("."):
            return no_such_part(argument, missing[1] != "sweep")
    return _unreadable(error)


def no_such_part(argument: str, has_sweep: bool) -> UserError:
    """Returns the error for a key of a sweep which a config lacks.

    Args:
      argument: what was asked for, as a flag or `KEY=VALUE`.
      has_sweep: whether the config has a sweep.
    """
    lacks = "config.sweep.space has no such entry, or the entry has no such part"
    return UserError(f"{argument} is not allowed: {lacks if has_sweep else 'the config has no sweep'}")


def _unreadable(error: BaseException) -> UserError:
    name = "" if isinstance(error, flags.Error) else f"{type(error).__name__}: "
    return UserError(f"--config cannot be read: {name}{first_line(error)}")
