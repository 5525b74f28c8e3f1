"""gnexp: does Group Normalization help here, and with which group count, epsilon, batch size and optimizer?

import gnexp

run = gnexp.run("configs/smoke.py", "runs/smoke", {"model.groups": 2})
run.test, run.history, run.model()
gnexp.results("runs/sweep")
"""

from typing import Any

_PUBLIC = {"run": "api", "load": "api", "results": "api", "GnexpError": "errors", "UserError": "errors"}

__all__ = ["GnexpError", "UserError", "__version__", "load", "results", "run"]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that importing gnexp costs next to nothing."""
    import importlib

    if name in _PUBLIC:
        return getattr(importlib.import_module(f"gnexp.{_PUBLIC[name]}"), name)
    if name == "__version__":
        import importlib.metadata

        try:
            return importlib.metadata.version("gnexp")
        except importlib.metadata.PackageNotFoundError:
            return "(not installed)"  # a copy that is only on the path
    raise AttributeError(f"module 'gnexp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
