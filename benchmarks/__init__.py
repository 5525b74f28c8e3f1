"""Comparisons with what others use, each one a command that prints ratios measured in one run."""
