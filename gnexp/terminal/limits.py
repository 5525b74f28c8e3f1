"""Limits of a shell that C++ code answers by ending the process, without a word."""

import os
import resource

from gnexp.config.schema import BACKENDS
from gnexp.errors import UserError

# In kB of address space. configs/smoke.py on 2 cores needs 2,530,000 with TensorFlow and 3,310,000 with JAX; every core
# adds to that.
_LEAST = {"tensorflow": 2_400_000, "jax": 3_000_000}


def check() -> None:
    """Checks that `ulimit -v` leaves room for a training.

    Raises:
      UserError: it does not.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    backend = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    least = _LEAST.get(backend, 0)
    if limit != resource.RLIM_INFINITY and limit < least * 1024:
        raise UserError(
            f"the limit `ulimit -v {limit // 1024}` is not allowed: {backend} needs {least} or more (kB of addresses, "
            "which are not all memory); `ulimit -v unlimited` lifts it"
        )
