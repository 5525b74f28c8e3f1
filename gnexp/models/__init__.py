"""The networks. Importing this lets Keras load a saved model with any of our layers."""

from gnexp.norms import by_name as _layers  # noqa: F401 - for its side effect: Keras knows the layers by name
