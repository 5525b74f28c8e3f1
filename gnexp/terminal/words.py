"""Numbers and hyperparameters as a person reads them."""

_SMALL, _LARGE = 5e-5, 1e6  # as in analysis.intervals


def in_words(values: dict) -> str:
    """Returns hyperparameters in one line."""
    return "  ".join(f"{path}={short(value)}" for path, value in values.items() if not path.startswith("tuner/")) + (
        f"  epochs={values['tuner/epochs']}" if "tuner/epochs" in values else ""
    )


def short(value: object) -> str:
    """Returns a hyperparameter's value as a person reads it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def figure(value: float, is_share: bool = False) -> str:
    """Returns a figure with four decimals, or with three digits where those would be only zeros, or after many digits.

    Args:
      value: the figure's.
      is_share: whether it has a lowest and a highest value, so that four decimals always do.
    """
    return f"{value:.4f}" if is_share or value == 0 or _SMALL <= abs(value) < _LARGE else f"{value:.3g}"


def count(number: int, noun: str) -> str:
    """Returns a number of things in words."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
