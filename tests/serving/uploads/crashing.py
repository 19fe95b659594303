"""An API that can be made to die at any durable write.

    python -m tests.serving.uploads.crashing URL FOLDER

Reads lines from stdin: `DATABASE POINT` forks an API that dies there, and prints its port; `end` ends it if it has not
ended, and prints how it did. What takes long to import is imported once.
"""

import gc
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

import uvicorn
from litestar import Litestar

from serving.api.app import create_app
from serving.db import failpoints
from serving.db.database import Database
from serving.db.embedded import named
from tests.serving.sealing import store_at
from tests.serving.uploads.conftest import OPTIONS, SECRET, settings_with


def _app(url: str, folder: Path) -> Litestar:
    return create_app(Database(url), store_at(folder), settings_with(OPTIONS), SECRET)


def main() -> None:
    """Serve until stdin ends."""
    server, folder = sys.argv[1], Path(sys.argv[2])
    child = 0
    # An app imports much at its first making: not in each fork.
    _app(server, folder)
    gc.freeze()
    for line in sys.stdin:
        name, _, point = line.strip().partition(" ")
        if name == "end":
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        line_in = socket.create_server(("127.0.0.1", 0))
        child = os.fork()
        if child == 0:
            try:
                if point:
                    os.environ[failpoints.VARIABLE] = point
                app = _app(named(server, name), folder / name)
                uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[line_in])
            except Exception:  # noqa: BLE001 - the fork may not go on as its parent, whatever happened
                traceback.print_exc()
            finally:
                os._exit(1)
        print(line_in.getsockname()[1], flush=True)
        line_in.close()


if __name__ == "__main__":
    main()
