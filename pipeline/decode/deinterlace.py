"""A whole picture out of an interlaced one, whose lines are of two moments in turn.

A sparse decode has no neighbouring frames to look at, so the picture alone must do: the field shown first, at the
frame's time, stays, and the lines between are made by FFmpeg's `w3fdif` (Weston's filter, BBC), which takes low
vertical frequencies from that field and a little of the high ones from the other.
"""

from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame

#: Lines that the filter needs.
MIN_HEIGHT = 4


def deinterlaced(frame: VideoFrame) -> VideoFrame:
    """`frame` at the moment of its first field, at full height; colour tags as they were."""
    graph = Graph()
    graph.threads = 1
    # The time does not matter here: there is one picture.
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25))
    filter_ = graph.add("w3fdif", "filter=simple:mode=frame:parity=auto:deint=all")
    sink = graph.add("buffersink")
    source.link_to(filter_)
    filter_.link_to(sink)
    graph.configure()
    graph.push(frame)
    # The filter holds a picture back until it sees the next one, or the end.
    graph.push(None)
    whole = graph.pull()
    assert isinstance(whole, VideoFrame)
    # A graph made without them says that they are unspecified.
    whole.colorspace, whole.color_range = frame.colorspace, frame.color_range
    whole.color_trc, whole.color_primaries = frame.color_trc, frame.color_primaries
    return whole
