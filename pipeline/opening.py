"""The first picture of a video, and what only it tells of all the others: shape, orientation, light."""

from fractions import Fraction

from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipeline.clips import CodecParameters
from pipeline.decode.geometry import Geometry, orientation_of, sane_aspect
from pipeline.decode.tonemap import mastering_peak_nits

#: Packets in which a first picture is looked for before the file is given up.
_FIRST_PICTURE_PACKETS = 600


class FirstPicture:
    """Looks for the first picture that can be decoded, among the first packets."""

    def __init__(self, decoder: VideoCodecContext) -> None:
        # Its shape and tags matter, its pixels do not.
        decoder.options = {"skip_loop_filter": "all"}
        self._decoder = decoder
        self._picture: VideoFrame | None = None
        self._fed = 0

    def feed(self, packet: Packet) -> None:
        """The next packet."""
        if self._picture is not None or self._fed >= _FIRST_PICTURE_PACKETS:
            return
        if self._fed == 0:
            # Decoders hold pictures back for those that are shown before them; told that nothing follows, they do not.
            self._picture = self._decoded(packet) or self._decoded(None)
            self._decoder.flush_buffers()
        if self._picture is None:
            self._picture = self._decoded(packet)
        self._fed += 1

    def picture(self) -> VideoFrame | None:
        """What came out, if anything did, at the latest at the end."""
        return self._picture or self._decoded(None)

    def _decoded(self, packet: Packet | None) -> VideoFrame | None:
        try:
            return next(iter(self._decoder.decode(packet)), None)
        except FFmpegError:
            return None  # a damaged picture; the next one may do


def parameters_of(stream: VideoStream, first: VideoFrame, reorder_depth: int) -> CodecParameters:
    """What the container and the first picture tell of all packets.

    Args:
        reorder_depth: how many pictures come before one that is shown before them, by their times.
    """
    context = stream.codec_context
    aspect = stream.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(1)
    rotation_deg, mirrored = orientation_of(first)
    return CodecParameters(
        name=context.codec.canonical_name,
        extradata=context.extradata,
        tag=context.codec_tag,
        width=context.width,
        height=context.height,
        reorder_depth=max(context.reorder_depth, reorder_depth),
        bits_per_coded_sample=context.bits_per_coded_sample,
        color_range=int(context.color_range),
        color_primaries=int(context.color_primaries),
        color_trc=int(context.color_trc),
        colorspace=int(context.colorspace),
        pixel_format=context.pix_fmt,
        # AV_FIELD_PROGRESSIVE is 1, unknown 0.
        interlaced=context.field_order > 1 or first.interlaced_frame,
        geometry=Geometry(
            width=first.width,
            height=first.height,
            pixel_aspect=sane_aspect(aspect.numerator, aspect.denominator),
            rotation_deg=rotation_deg,
            mirrored=mirrored,
        ),
        peak_nits=mastering_peak_nits(first),
    )
