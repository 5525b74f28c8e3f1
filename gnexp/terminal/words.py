"""Numbers and hyperparameters as a person reads them."""


def in_words(values: dict) -> str:
    """Returns hyperparameters in one line."""
    return "  ".join(f"{path}={short(value)}" for path, value in values.items() if not path.startswith("tuner/")) + (
        f"  epochs={values['tuner/epochs']}" if "tuner/epochs" in values else ""
    )


def short(value: object) -> str:
    """Returns a hyperparameter's value as a person reads it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def with_spread(mean: float | None, interval: float | None) -> str:
    """Returns a mean, with half the width of its 95% interval if that is known; "" for None."""
    if mean is None:
        return ""
    return f"{mean:.4f}" + ("" if interval is None else f" \N{PLUS-MINUS SIGN} {interval:.4f}")


def count(number: int, noun: str) -> str:
    """Returns a number of things in words."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
