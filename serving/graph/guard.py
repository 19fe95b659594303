"""Ends a session whose owner was killed: `python -m serving.graph.guard`, started and told by `launch`.

The kernel ends the first process of a cluster with its parent, and Ray's own with that. Some of those that Ray's start
in turn would stay for minutes. Whoever is killed can do nothing about it; so somebody has to outlive it, and this is as
little as can.
"""

import signal
import sys

from serving.graph.sessions import end_session


def main() -> None:
    """Read ids of sessions, a line each, until whoever writes them is no more; then end the last one."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    session = 0
    for line in sys.stdin:
        session = int(line)
    if session:
        end_session(session)


if __name__ == "__main__":
    main()
