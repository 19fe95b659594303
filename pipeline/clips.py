"""The Clip: codec parameters and just the packets needed for some frames. The unit of work, and what travels."""

from pipeline.decode.geometry import Geometry
from pipeline.decode.tonemap import USUAL_PEAK_NITS
from pipeline.record import Record


class CodecParameters(Record, frozen=True, kw_only=True):
    """What a fresh decoder must be told; some of it only the container knows."""

    name: str
    """FFmpeg's canonical codec name, for example `h264`."""
    extradata: bytes | None
    tag: str
    width: int
    height: int
    reorder_depth: int
    """How many frames the decoder may have to hold back for reordering."""
    bits_per_coded_sample: int
    color_range: int
    color_primaries: int
    color_trc: int
    colorspace: int
    pixel_format: str | None = None
    """FFmpeg's name of what the decoder gives, for example `yuv420p`, where the file says."""
    interlaced: bool = False
    """Whether the container or the first packets say that pictures are made of two fields."""
    geometry: Geometry
    """The shape of the video; the decoder hands out every frame upright, in square pixels, of this shown size."""
    peak_nits: float = USUAL_PEAK_NITS
    """Light of the brightest colour that the source was graded with, cd/m2; matters for HDR10."""

    @property
    def rotation_deg(self) -> int:
        """Clockwise rotation a player applies."""
        return self.geometry.rotation_deg


class Clip(Record, frozen=True, kw_only=True):
    """The unit of work, and what travels: codec parameters and the packets needed, no pixels."""

    job: str
    """Names the request that the Clip was cut for, so that chains of two requests are never taken for one another."""
    owner: str = ""
    """Names whom the video belongs to where that is told apart: a process that decoded for one never does for another.
    Without it, every request has its own."""
    chain: int
    """Clips of one job and chain share a decoder and are decoded in order of `part`."""
    part: int
    last: bool
    """Whether the chain ends here, so that the decoder must hand out what it holds back."""
    codec: CodecParameters
    rows: tuple[int, ...]
    """Rows of the packet index, one a packet; the identity under which frames come out."""
    packets: tuple[bytes, ...]
    flush_at: tuple[int, ...]
    """Positions in `packets` before which the decoder starts afresh because something was left out."""
    keyframes: tuple[int, ...] = ()
    """Positions in `packets` of those that the container flags as keyframes: some decoders (PNG) go by the flag."""
    times_s: tuple[float, ...]
    """When the picture of each packet is shown, seconds on the video's time line; NaN for one that is not shown."""
    ranks: tuple[int, ...]
    """Place of each packet's picture in display order among those of this Clip, 0 first; shown or not."""
    wanted: tuple[int, ...]
    """Rows of the pictures that models are to see, in time order; empty where only the strip is asked for."""
    exact: bool = True
    """Whether pictures must be those of a sequential decode; False where only thumbnails are made of them."""
    glimpse: bool = False
    """Whether a strip of tiny thumbnails is handed out too: those of `glimpsed`, and of pictures that come out on the
    way where they are not too near to the one before (`thumbs.ALONG_S`)."""
    glimpsed: tuple[int, ...] = ()
    """Rows whose thumbnails are asked for; matters with `glimpse` only."""
    reuse: bool = False
    """Whether a wanted picture that looks as the one before may have its rows, see `pipeline.stills`."""
    size: tuple[int, int] | None = None
    """(width, height) to which the decoder may scale wanted pictures quickly; None: full size, as models need it."""

    def __repr__(self) -> str:
        """Shapes, not bytes."""
        return (
            f"Clip(chain={self.chain}, part={self.part}, last={self.last}, codec={self.codec.name}, "
            f"packets={len(self.packets)}, bytes={sum(map(len, self.packets))}, wanted={len(self.wanted)}, "
            f"glimpse={self.glimpse})"
        )
