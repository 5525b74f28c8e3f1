"""What a sweep may search, and the entries with which a config says so. Nothing here imports Keras or TensorFlow."""

from gnexp.space.entries import boolean, by, choice, fixed, floats, integers

__all__ = ["boolean", "by", "choice", "fixed", "floats", "integers"]
