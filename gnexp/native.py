"""The layer's C++ kernel for TensorFlow on the CPU: compiled once, at first use, where there is a compiler.

Where it cannot be had, or does not apply, the layer's plain path computes the same: on a GPU, on JAX, under XLA, without a
compiler, after a build that failed. A build that failed is not tried again while `NAME.failed` lies in the cache, which
holds what the compiler said.
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

SOURCE = pathlib.Path(__file__).parent / "kernels" / "group_normalization.cc"
# Eigen's own vector code does not compile for every processor, and nothing here uses it.
_FLAGS = ("-shared", "-fPIC", "-O3", "-march=native", "-w", "-DEIGEN_DONT_VECTORIZE")
_COMPILERS = ("c++", "g++", "clang++")
_LONGEST_BUILD = 300  # seconds


def use(model: keras.Model) -> bool:
    """Gives each `GroupNormalization` of a model the C++ kernel; returns whether it is to be had."""
    kernel = load()
    for layer in model.layers if kernel else ():
        if isinstance(layer, GroupNormalization):
            layer.kernel = kernel
    return kernel is not None


@functools.cache
def load() -> Callable[..., Any] | None:
    """Returns what may stand for `GroupNormalization.kernel`, or None where it cannot be had.

    The first call on a machine compiles for some ten seconds, and says so in a line.
    """
    if keras.backend.backend() != "tensorflow" or sys.platform != "linux":
        return None
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return None
    try:
        for _ in range(2):
            path = _library()
            if not path:
                return None
            try:
                return _kernel(tf.load_op_library(str(path)))
            except tf.errors.OpError as error:  # A damaged file is mended by building it again.
                path.unlink(missing_ok=True)
                reason = str(error)
        _give_up(path, reason)
    except OSError:  # no home, a full disk
        pass
    return None


def _library() -> pathlib.Path | None:
    """Returns the compiled library, built if need be, or None where that cannot be done."""
    import tensorflow as tf

    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "gnexp"
    what = (SOURCE.read_text(), _FLAGS, tf.version.VERSION, tf.version.GIT_VERSION, _instructions())
    key = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
    path = cache / f"{SOURCE.stem}-tensorflow-{tf.version.VERSION}-{key}.so"
    if path.exists():
        return path
    compiler = next(filter(None, map(shutil.which, [os.environ.get("CXX", ""), *_COMPILERS])), None)
    if not compiler or path.with_suffix(".failed").exists():
        return None
    print("Compiling the C++ kernel, once (about 10 seconds) ...", flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    # Two processes may both compile, each in a folder of its own: the one that ends last takes the place of the other's.
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        built = pathlib.Path(folder) / path.name
        flags = [
            *_FLAGS,
            *tf.sysconfig.get_compile_flags(),
            str(SOURCE),
            "-o",
            str(built),
            *tf.sysconfig.get_link_flags(),
        ]
        try:
            done = subprocess.run(
                [compiler, *flags], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LONGEST_BUILD
            )
        except subprocess.TimeoutExpired as error:
            return _give_up(path, str(error))
        if done.returncode:
            return _give_up(path, f"{shlex.join([compiler, *flags])}\n{done.stderr}")
        built.replace(path)
    return path


def _give_up(path: pathlib.Path, reason: str) -> None:
    failed = path.with_suffix(".failed")
    failed.write_text(reason)
    print(f"That failed ({failed} says why): TensorFlow's own operations are used instead", flush=True)


def _instructions() -> str:
    """Returns what tells one kind of processor from another: its machine code must not run elsewhere."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return "\n".join([platform.machine(), *sorted({line for line in lines if line.startswith(names)})])


def _kernel(operations):
    import tensorflow as tf

    @tf.RegisterGradient("GnexpGroupNormalization")
    def gradient(operation, dy, *_):
        x, gamma, _ = operation.inputs
        _, mean, inverse = operation.outputs
        attributes = {name: operation.get_attr(name) for name in ("groups", "epsilon")}
        return operations.gnexp_group_normalization_grad(dy, x, gamma, mean, inverse, **attributes)

    @tf.RegisterGradient("GnexpGroupNormalizationGrad")
    def second_gradient(operation, *upstream):
        dy, x, gamma, _, _ = operation.inputs
        groups, epsilon = (operation.get_attr(name) for name in ("groups", "epsilon"))
        beta = tf.zeros_like(gamma)
        with tf.GradientTape() as outer:
            outer.watch([dy, x, gamma])
            with tf.GradientTape() as inner:
                inner.watch([x, gamma, beta])
                y = group_normalization.normalize(x, gamma, beta, len(x.shape) - 1, groups, epsilon)
            first = inner.gradient(y, [x, gamma, beta], output_gradients=dy)
        return *outer.gradient(first, [dy, x, gamma], output_gradients=upstream), None, None

    def normalize(x, gamma, beta, axis, groups, epsilon):
        if axis != len(x.shape) - 1 or x.dtype != tf.float32 or group_normalization.is_for_xla():
            return group_normalization.normalize(x, gamma, beta, axis, groups, epsilon)
        return operations.gnexp_group_normalization(x, gamma, beta, groups=groups, epsilon=epsilon).y

    return normalize
