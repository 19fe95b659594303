"""What indexes made by hand say of their codec."""

from pipeline.clips import CodecParameters
from pipeline.decode.geometry import Geometry

CODEC = CodecParameters(
    name="h264",
    extradata=None,
    tag="avc1",
    width=160,
    height=96,
    reorder_depth=0,
    bits_per_coded_sample=24,
    color_range=0,
    color_primaries=2,
    color_trc=2,
    colorspace=2,
    geometry=Geometry(width=160, height=96),
)
