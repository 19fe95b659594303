"""A line to a server that is cut: what wires, proxies and restarts do to connections."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

#: On, and for no time: what is closed like this tells the other side so at once and rudely.
_RUDE = struct.pack("ii", 1, 0)


class Line:
    """Passes bytes between callers and a server. `cuts`: for each connection in turn, after how many bytes of requests
    and of answers it is cut, None for never; those that come later are left alone."""

    def __init__(self, server: str, cuts: list[tuple[int | None, int | None]]) -> None:
        self._cuts = iter(cuts)
        host, _, port = server.removeprefix("http://").partition(":")
        self._server = host, int(port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.cut = 0
        """Connections that were cut so far."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listening.accept()
                most_asked, most_answered = next(self._cuts, (None, None))
                server = socket.create_connection(self._server)
                for source, target, most in ((caller, server, most_asked), (server, caller, most_answered)):
                    threading.Thread(target=self._pass, args=(source, target, most), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, most: int | None) -> None:
        passed = 0
        # Either side may be gone already: that is what is played here.
        with contextlib.suppress(OSError):
            while chunk := source.recv(1 << 16):
                kept = chunk if most is None else chunk[: most - passed]
                target.sendall(kept)
                passed += len(kept)
                if passed == most:
                    self.cut += 1
                    for one in (source, target):
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RUDE)
                    break
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextlib.contextmanager
def line(server: str, cuts: list[tuple[int | None, int | None]]) -> Iterator[Line]:
    """A line while the block lasts."""
    made = Line(server, cuts)
    try:
        yield made
    finally:
        made.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]
