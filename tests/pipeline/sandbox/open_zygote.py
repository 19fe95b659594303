"""Workers that open whatever FFmpeg can be talked into: no list of demuxers, every protocol. For tests only.

python open_zygote.py DESCRIPTOR MEMORY_BYTES      as `pipeline.sandbox.zygote`, isolation and all
python open_zygote.py read FILE...                 reads FILEs right here without any isolation, and says what it saw
"""

import os
import sys
from typing import Any

import av

from pipeline import container
from pipeline.errors import VideoError
from pipeline.limits import InputLimits
from pipeline.media import LocalMedia
from pipeline.sandbox import zygote

#: Options that take away what FFmpeg itself has against files that name other files.
_LOOSE = {
    "protocol_whitelist": "fd,file,http,https,httpproxy,tcp,udp,tls,rtp,rtsp,crypto,data,concat,concatf,subfile,pipe,"
    "cache,async,ftp,gopher,hls,mmsh,mmst,rtmp,srtp,unix,ipfs_gateway",
    "allowed_extensions": "ALL",
    "allowed_segment_extensions": "ALL",
    "extension_picky": "0",
    "safe": "0",
    "enable_drefs": "1",
    "use_absolute_path": "1",
}


#: A list of other files is smaller than what it stands for.
_NO_LIMITS = InputLimits(max_reread=1e18, max_expansion=1e18)


class _LooseAV:
    """PyAV for `pipeline.container`, whose lists are lost on the way."""

    def __init__(self, by_name: bool) -> None:
        self._by_name = by_name

    def open(self, url: str, mode: str, *, options: dict[str, str], **how: Any) -> Any:
        """As `av.open`."""
        loose = {name: value for name, value in options.items() if name != "format_whitelist"} | _LOOSE
        if self._by_name:
            url = os.readlink(f"/proc/self/fd/{options['fd']}")
        return av.open(url, mode, options=loose, **how)


def _read(files: list[str]) -> None:
    container.av = _LooseAV(by_name=True)  # pyright: ignore[reportAttributeAccessIssue]
    for file in files:
        try:
            info = LocalMedia(file, _NO_LIMITS).inspect().info
            print(f"{info.width}x{info.height}", flush=True)
        except VideoError as error:
            print(error.code, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "read":
        _read(sys.argv[2:])
    else:
        container.av = _LooseAV(by_name=False)  # pyright: ignore[reportAttributeAccessIssue]
        zygote.main()
