"""What a sweep may search, and the entries that a config writes it with. Nothing here imports Keras or TensorFlow."""

from gnexp.space.entries import boolean, by, choice, fixed, floats, integers

__all__ = ["boolean", "by", "choice", "fixed", "floats", "integers"]
