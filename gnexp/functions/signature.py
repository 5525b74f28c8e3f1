"""What arguments a function takes: read from its source where that is enough, otherwise from the function."""

import ast
import dataclasses
import difflib
import functools
import inspect
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gnexp.errors import UserError
from gnexp.functions import names

REQUIRED: Any = object()  # the default of a parameter without one
UNREADABLE: Any = object()  # a default that cannot be read without running the source
_KINDS = {"int": int, "float": float, "bool": bool, "str": str, "tuple": tuple, "list": tuple, "Sequence": tuple}
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", tuple: "several values, in ()"}
# Decorators that leave a function's parameters as they are.
_HARMLESS = ("keras_export", "cache", "lru_cache")
_MOST_IMPORTS = 10  # from one module to the next, in search of a function


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter of a function that can be given by its name.

    Attributes:
      name: its name.
      default: its default; `REQUIRED` or `UNREADABLE`.
      kind: int, float, bool, str or tuple if its annotation or its default says so, otherwise None.
      annotated: whether `kind` comes from an annotation, and is exact.
      optional: whether None is allowed.
    """

    name: str
    default: Any = REQUIRED
    kind: type | None = None
    annotated: bool = False
    optional: bool = False

    def accepts(self, value: Any) -> bool:
        """Tells whether the parameter may hold a value."""
        if value is None:
            return self.optional or self.kind is None
        if self.kind is None:
            return True
        if isinstance(value, bool) or self.kind is bool:
            return isinstance(value, bool) and self.kind is bool
        if self.kind is tuple:
            return isinstance(value, (tuple, list))
        # A default of 0 says no more than that it is a number.
        numbers = (int,) if self.kind is int and self.annotated else (int, float)
        return isinstance(value, str if self.kind is str else numbers)

    @property
    def allowed(self) -> str:
        """What the parameter may hold, in words."""
        return _WORDS.get(self.kind if self.annotated or self.kind is not int else float, "anything")

    def __str__(self):
        """Returns the parameter as a signature has it."""
        if self.default is REQUIRED:
            return self.name
        return f"{self.name}={'...' if self.default is UNREADABLE else repr(self.default)}"


@dataclasses.dataclass(frozen=True)
class Signature:
    """The parameters of a function.

    Attributes:
      parameters: those that can be given by their names.
      open: whether it takes any others as well (`**kwargs`).
    """

    parameters: tuple[Parameter, ...]
    open: bool

    @property
    def names(self) -> list[str]:
        """The names of the parameters."""
        return [parameter.name for parameter in self.parameters]

    def get(self, name: str) -> Parameter | None:
        """Returns the parameter of a name, or None."""
        return next((parameter for parameter in self.parameters if parameter.name == name), None)


def of(name: str) -> Signature | None:
    """Returns the signature of `package.module:function` from its source, which is not run.

    Returns:
      None if the source does not tell, for example because a decorator makes the function.

    Raises:
      UserError: there is no such module or function, or the source is not valid Python.
    """
    module, _, function = name.partition(":")
    source = names.find(module)
    return source and _of_source(module, source, source.stat().st_mtime_ns, function)


@functools.lru_cache(maxsize=1000)
def _of_source(module: str, source: pathlib.Path, _: int, function: str) -> Signature | None:
    for _ in range(_MOST_IMPORTS):
        body = parsed(source).body
        found = {name: node for node in body for name in _names(node)}
        node = found.get(function)
        if node is None:
            if "*" not in found and "__getattr__" not in found:
                _check_there(module, source, function, found)
            return None
        if isinstance(node, ast.ClassDef):
            made = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
            return _of_node(made[0], first=1) if made else None
        if isinstance(node, ast.FunctionDef):
            return _of_node(node) if all(_is_harmless(each) for each in node.decorator_list) else None
        if not isinstance(node, ast.ImportFrom):
            return None
        module = _imported(module, source, node)
        function = next(alias.name for alias in node.names if (alias.asname or alias.name) == function)
        try:
            source = names.find(module)
        except UserError:  # The import itself will say so in better words.
            return None
        if source is None:
            return None
    return None


def parsed(source: pathlib.Path) -> ast.Module:
    """Returns the syntax tree of a source file.

    Raises:
      UserError: it is not valid Python, or cannot be read.
    """
    try:
        return ast.parse(source.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        what = error.msg if isinstance(error, SyntaxError) else error
        raise UserError(f"{source}{line}: {type(error).__name__}: {what}") from error
    except OSError as error:
        raise UserError(f"{source} cannot be read: {error.strerror}") from error


def _names(node: ast.stmt) -> list[str]:
    """Returns the names that a statement at the top of a module defines; `*` for ones that cannot be known."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.Import():
            return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
        case ast.ImportFrom():
            return [alias.asname or alias.name for alias in node.names]
        case ast.Assign() | ast.AnnAssign():
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            return [inner.id for each in targets for inner in ast.walk(each) if isinstance(inner, ast.Name)]
        case ast.Expr() | ast.Raise() | ast.Assert() | ast.Pass():
            return []
    return ["*"]


def _check_there(module: str, source: pathlib.Path, function: str, found: Mapping[str, ast.stmt]) -> None:
    functions = [name for name, node in found.items() if isinstance(node, (ast.FunctionDef, ast.ImportFrom))]
    near = difflib.get_close_matches(function, found, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(functions) or 'none'}"
    raise UserError(f"{source} has no function {function!r}; {hint}")


def _imported(module: str, source: pathlib.Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module
    package = module if source.name == "__init__.py" else module.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{node.module}" if node.module else package


def _is_harmless(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) in _HARMLESS


def _of_node(node: ast.FunctionDef, first: int = 0) -> Signature:
    """Returns the signature of a function without its `first` parameters, such as `self`."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args][first:]
    missing = [None] * (len(positional) - len(arguments.defaults))
    pairs = [*zip(positional, [*missing, *arguments.defaults], strict=True)]
    named = [*pairs[len(arguments.posonlyargs) :], *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return Signature(tuple(_parameter(each, default) for each, default in named), arguments.kwarg is not None)


def _parameter(node: ast.arg, default: ast.expr | None) -> Parameter:
    value = REQUIRED
    if default is not None:
        try:
            value = ast.literal_eval(default)
        except ValueError:
            value = UNREADABLE
    return _made(node.arg, value, ast.unparse(node.annotation) if node.annotation else "")


def _made(name: str, default: Any, annotation: str) -> Parameter:
    words = [word.strip() for word in annotation.strip("'\"").replace("Optional[", "None | ").rstrip("]").split("|")]
    kinds = [_KINDS.get(word.partition("[")[0].rpartition(".")[2]) for word in words if word not in ("", "None")]
    optional = "None" in words or default is None
    if len(kinds) == 1 and kinds[0]:
        return Parameter(name, default, kinds[0], True, optional)
    if {*kinds} == {int, float}:
        return Parameter(name, default, float, True, optional)
    kind = tuple if isinstance(default, list) else type(default)
    known = default not in (REQUIRED, UNREADABLE, None) and kind in _WORDS and not annotation
    return Parameter(name, default, kind if known else None, False, optional)


def of_function(function: Callable) -> Signature:
    """Returns the signature of a function that has been imported."""
    parameters: Sequence[inspect.Parameter] = list(inspect.signature(function).parameters.values())
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = []
    for each in parameters:
        if each.kind in named:
            default = REQUIRED if each.default is each.empty else each.default
            plain = default is REQUIRED or isinstance(default, (bool, int, float, str, tuple, list, type(None)))
            annotation = "" if each.annotation is each.empty else inspect.formatannotation(each.annotation)
            found.append(_made(each.name, default if plain else UNREADABLE, annotation))
    return Signature(tuple(found), any(each.kind == each.VAR_KEYWORD for each in parameters))
