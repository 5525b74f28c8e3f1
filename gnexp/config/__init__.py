"""What a config may hold. Nothing here imports Keras or TensorFlow, so that mistakes are reported at once."""

from gnexp.config.stored import from_json, to_json

__all__ = ["from_json", "to_json"]
