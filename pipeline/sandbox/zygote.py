"""The process from which workers are forked: everything imported and rehearsed once, no threads, nothing to steal.

    python -m pipeline.sandbox.zygote DESCRIPTOR MEMORY_BYTES

A fork costs some milliseconds, a fresh interpreter half a second. Each message on the control socket brings the socket
of a new worker. When the keeper is gone the control socket ends, this process with it, and the kernel ends its workers.
"""

import contextlib
import os
import signal
import socket
import sys
import tempfile

from pipeline.sandbox import isolation, worker

READY = b"ready"


def main() -> None:
    """Serve until the keeper hangs up."""
    control = socket.socket(fileno=int(sys.argv[1]))
    memory_bytes = int(sys.argv[2])
    signal.signal(signal.SIGCHLD, _bury)  # their sockets tell the keepers of dead workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the keeper, which then hangs up
    worker.rehearse()
    no_network = isolation.leave_network()
    _go_nowhere()
    zygote = os.getpid()
    control.sendall(READY)
    while True:
        message, files, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        try:
            is_worker = os.fork() == 0
        except OSError:
            is_worker = False  # its keeper sees it hang up; the others' workers go on
        if is_worker:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # it has no children, and may not ask after any
                isolation.die_with_parent(zygote)
                control.close()
                os.setsid()
                os.dup2(1, 2)  # to nowhere: what a worker that was taken over writes is not for the keeper's log
                with socket.socket(fileno=files[0]) as end:
                    worker.run(end, memory_bytes, no_network)
            finally:
                os._exit(0)  # whatever happened: what is left of the interpreter has nothing to do in this process
        for file in files:
            os.close(file)


def _bury(*_: object) -> None:
    """Wait for workers that have ended. The kernel would do it, but then nobody could tell how long they computed."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _go_nowhere() -> None:
    """Make the working folder one that was deleted: nothing is in it and nothing can be put there. Workers get it for
    their root, see `isolation.give_up_rights`."""
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


if __name__ == "__main__":
    main()
