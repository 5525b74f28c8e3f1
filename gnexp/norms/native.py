"""The layer's C++ kernel for TensorFlow on the CPU: compiled once, at first use, where there is a compiler.

Where it is not available or does not apply, the layer's plain path computes the same up to rounding: on a GPU, on JAX,
under XLA, without a compiler, after a failed build. Only from inputs of about 1e26 on, whose squares float32 does not
hold by far, it may give NaN where the kernel gives beta. A failed build is not tried again while the cache has its
`NAME.failed`, which holds the compiler's output.
"""

import functools
import hashlib
import os
import pathlib
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import keras

from gnexp import group_normalization
from gnexp.group_normalization import GroupNormalization
from gnexp.terminal import places

SOURCE = pathlib.Path(__file__).parent / "group_normalization.cc"
# Eigen's own vector code does not compile for every processor, and the kernel does not use it. Fused multiply-adds are
# off, so that values that cancel exactly in float32 also cancel here.
_FLAGS = ("-shared", "-fPIC", "-O3", "-march=native", "-ffp-contract=off", "-DEIGEN_DONT_VECTORIZE", "-w")
_COMPILERS = ("c++", "g++", "clang++")
_OPERATIONS = ("gnexp_group_normalization", "gnexp_group_normalization_grad")
_PASSING = ("Killed", "terminated", "No space left")  # Output of a compiler that was killed or found the disk full.


def use(model: keras.Model) -> bool:
    """Makes each `GroupNormalization` of a model use the C++ kernel; returns whether any does.

    Call this before the model is traced. A graph that holds the kernel can be neither compiled by XLA nor exported.
    """
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, GroupNormalization)]
    kernel = load() if layers else None
    for layer in layers if kernel else ():
        layer.kernel = kernel
    return kernel is not None


@functools.cache
def load() -> Callable[..., Any] | None:
    """Returns the C++ replacement for `GroupNormalization.kernel`, or None if it is not available.

    The first call on a machine compiles it for about ten seconds, and prints a line about that.
    """
    if keras.backend.backend() != "tensorflow" or sys.platform != "linux":
        return None
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return None
    try:
        base = _base()
        path = _library(base)
        try:
            return path and _kernel(tf.load_op_library(str(path)))
        except (tf.errors.OpError, _IncompleteError) as error:
            path.unlink()
            return _give_up(base, str(error))
    except (OSError, RuntimeError):  # for example, the disk is full, or there is no home directory
        return None


def _base() -> pathlib.Path:
    """Returns the start of the library's path, with a digest of its source, flags, TensorFlow and processor."""
    import tensorflow as tf

    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "gnexp"
    what = (SOURCE.read_bytes(), _FLAGS, tf.version.VERSION, tf.version.GIT_VERSION, _instructions())
    return cache / f"{SOURCE.stem}-tensorflow-{tf.version.VERSION}-{_digest(repr(what).encode())}"


def _secure(cache: pathlib.Path) -> bool:
    """Tells whether nobody but this user and root can put a library into the cache, after seeing to that."""
    if not cache.exists():
        return True
    if cache.stat().st_uid == os.geteuid():
        others_could = places.who_may_write(cache)
        cache.chmod(0o700)
        for path in cache.glob("*.so") if others_could else ():
            path.unlink()
    if who := places.who_may_write(cache):
        print(f"The C++ kernel is not used, because {who}; using TensorFlow's own operations", flush=True)
    return not who


def _library(base: pathlib.Path) -> pathlib.Path | None:
    """Returns the compiled library, building it if necessary, or None if it cannot be built or trusted."""
    import tensorflow as tf

    if not _secure(base.parent):
        return None
    for path in base.parent.glob(f"{base.name}-*.so"):
        # Loading a truncated library would crash the process.
        if not places.who_may_write(path) and path.stem.endswith(_digest(path.read_bytes())):
            return path
        path.unlink()
    compiler = next(filter(None, map(shutil.which, [os.environ.get("CXX", ""), *_COMPILERS])), None)
    if not compiler or _failed(base).exists():
        return None
    print("Compiling the C++ kernel, once (about 10 seconds) ...", flush=True)
    base.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Two processes may both compile, each in a folder of its own.
    with tempfile.TemporaryDirectory(dir=base.parent) as folder:
        built = pathlib.Path(folder) / "library.so"
        flags = [*_FLAGS, *tf.sysconfig.get_compile_flags(), str(SOURCE), "-o", str(built)]
        command = [compiler, *flags, *tf.sysconfig.get_link_flags()]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C in the terminal must not look like a failed build.
        )
        if done.returncode:
            return _give_up(base, f"{shlex.join(command)}\n{done.stderr}")
        built.chmod(0o700)
        return built.replace(f"{base}-{_digest(built.read_bytes())}.so")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _failed(base: pathlib.Path) -> pathlib.Path:
    return base.parent / f"{base.name}.failed"


def _give_up(base: pathlib.Path, reason: str) -> None:
    if any(words in reason for words in _PASSING):
        print("Compiling failed (temporary); using TensorFlow's own operations", flush=True)
        return
    _failed(base).write_text(reason)
    print(f"Compiling failed (see {_failed(base)}); using TensorFlow's own operations", flush=True)


def _instructions() -> str:
    """Returns a description of the processor, because code for one kind must not run on another."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return "\n".join([platform.machine(), *sorted({line for line in lines if line.startswith(names)})])


class _IncompleteError(Exception):
    """A library lacks the operations."""


def _kernel(operations):
    import tensorflow as tf

    if missing := [name for name in _OPERATIONS if not hasattr(operations, name)]:
        raise _IncompleteError(f"the library has no operation {missing[0]}")

    @tf.RegisterGradient("GnexpGroupNormalization")
    def gradient(operation, dy, *_):
        x, gamma, _ = operation.inputs
        _, *statistics = operation.outputs
        attributes = {name: operation.get_attr(name) for name in ("groups", "epsilon")}
        return operations.gnexp_group_normalization_grad(dy, x, gamma, *statistics, **attributes)

    @tf.RegisterGradient("GnexpGroupNormalizationGrad")
    def second_gradient(operation, *upstream):
        dy, x, gamma, *_ = operation.inputs
        groups, epsilon = (operation.get_attr(name) for name in ("groups", "epsilon"))
        beta = tf.zeros_like(gamma)
        with tf.GradientTape() as outer:
            outer.watch([dy, x, gamma])
            with tf.GradientTape() as inner:
                inner.watch([x, gamma, beta])
                y = group_normalization.normalize(x, gamma, beta, len(x.shape) - 1, groups, epsilon)
            first = inner.gradient(y, [x, gamma, beta], output_gradients=tf.cast(dy, y.dtype))
        return *outer.gradient(first, [dy, x, gamma], output_gradients=upstream), None, None, None

    def normalize(x, gamma, beta, axis, groups, epsilon):
        known = x.dtype in (tf.float32, tf.bfloat16) and gamma.dtype == tf.float32
        if axis != len(x.shape) - 1 or not known or group_normalization.is_for_xla():
            return group_normalization.normalize(x, gamma, beta, axis, groups, epsilon)
        return operations.gnexp_group_normalization(x, gamma, beta, groups=groups, epsilon=epsilon).y

    return normalize
