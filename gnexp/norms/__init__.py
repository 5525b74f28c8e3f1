"""The normalization layers that gnexp compares, by name, and the C++ kernel that computes them."""

from typing import Any

__all__ = ["standardize", "swap"]


def __getattr__(name: str) -> Any:
    """Imports a public function when it is first used: it imports Keras, for seconds."""
    if name == "swap":
        from gnexp.norms.swapping import swap

        return swap
    if name == "standardize":
        from gnexp.norms.weight_standardization import standardize

        return standardize
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
