"""The user's script, which a process that this one starts must not run again."""

import contextlib
import sys
import types
from collections.abc import Iterator


@contextlib.contextmanager
def not_run_again() -> Iterator[None]:
    """Keeps processes that are spawned in the block from running the script, which may lack `if __name__ == ...`."""
    main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
