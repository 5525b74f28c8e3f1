"""What a config may hold. Nothing here imports Keras or TensorFlow, so that a mistake is answered at once."""

from gnexp.config.stored import from_json, to_json

__all__ = ["from_json", "to_json"]
