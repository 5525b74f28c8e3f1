"""Summaries: what one event of TensorBoard holds."""

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.histogram.summary_v2 import histogram_pb as histogram
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb as scalar
from tensorboard.plugins.text.summary_v2 import text_pb as text

__all__ = ["histogram", "image", "scalar", "text"]


def image(tag: str, png: bytes, width: int, height: int) -> Summary:
    """Returns a summary of one image of `width` by `height` pixels, given as the bytes of a PNG file."""
    metadata = image_metadata.create_summary_metadata(display_name=None, description="", converted_to_tensor=True)
    tensor = TensorProto(
        dtype=DT_STRING,
        string_val=[str(width).encode(), str(height).encode(), png],
        tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=3)]),
    )
    value = Summary.Value(tag=tag, tensor=tensor)
    value.metadata.CopyFrom(metadata)
    return Summary(value=[value])
