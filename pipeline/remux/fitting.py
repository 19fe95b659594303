"""Whether a video's pictures and sound lie as browsers need them: why not, in a few words. Arrays and arithmetic only.

What is refused here was seen to stop or to break Chromium's player, by its own HLS or by hls.js. A rendition has none
of it.
"""

from typing import Final

import numpy as np

from pipeline.packets import PacketIndex
from pipeline.remux.tables import Samples, rows_of

#: Seconds that sound may begin after the pictures, end before them, and be missing in between.
#: A player waits for it until it has come, or plays all that follows too early.
_LATE_S: Final = 0.5
_EARLY_S: Final = 1.0
_HOLE_S: Final = 0.1


def why_not_pictures(index: PacketIndex, discarded: np.ndarray) -> str | None:
    """Why its pictures cannot be shown as they are.

    Args:
        discarded: bool [P], those that an edit list cuts off.

    Those before the first one that is shown are over at once, and those behind the last one are left out; any other
    would be seen.
    """
    rows = rows_of(index)
    after = index.pts[rows] - index.origin
    last = int(after[index.shown[rows]].max())
    if (discarded[rows] & (after >= 0) & (after < last)).any():
        return "an edit list cuts pictures out of its middle"
    return None


def why_not_cuts(cuts: np.ndarray, idr: np.ndarray) -> str | None:
    """Why H.264 cannot be cut where it would be: browsers start with IDR pictures only.

    Args:
        cuts: int64 [N], rows of pictures.
        idr: bool [P], those that are such.
    """
    if not idr[cuts].all():
        return "it has groups of pictures that begin with no IDR picture (open GOPs)"
    return None


def why_not_sound(video: Samples, sound: Samples, lengths: np.ndarray, beyond_s: float) -> str | None:
    """Why its sound cannot be played beside the pictures.

    Args:
        lengths: int64 [N], ticks of the sound's clock that each of its samples lasts.
        beyond_s: how long sound goes on behind a single picture; 0 where there are more.
    """
    if beyond_s > _EARLY_S:
        return "it is one picture with sound"
    begins_s, ends_s = sound.decoded / sound.timescale, (sound.decoded + lengths) / sound.timescale
    early_s = video.end / video.timescale - float(ends_s[-1])
    hole_s = float((begins_s[1:] - ends_s[:-1]).max(initial=0.0))
    if begins_s[0] > _LATE_S:
        return f"its sound has gaps: it begins {begins_s[0]:.1f} s after the pictures"
    if hole_s > _HOLE_S:
        return f"its sound has gaps, of up to {hole_s:.1f} s"
    if early_s > _EARLY_S:
        return f"its sound has gaps: it ends {early_s:.1f} s before the pictures"
    return None
