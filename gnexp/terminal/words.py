"""Numbers and hyperparameters as a person reads them."""


def in_words(values: dict) -> str:
    """Returns hyperparameters in one line."""
    return "  ".join(f"{path}={short(value)}" for path, value in values.items() if not path.startswith("tuner/")) + (
        f"  epochs={values['tuner/epochs']}" if "tuner/epochs" in values else ""
    )


def short(value: object) -> str:
    """Returns a hyperparameter's value as a person reads it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def count(number: int, noun: str) -> str:
    """Returns a number of things in words."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
