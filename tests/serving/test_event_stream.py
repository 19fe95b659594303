"""The client's side of event streams, and that it needs nothing of the server."""

import subprocess
import sys

import pytest

from serving.event_stream import EventParser
from tests.serving.commands import ROOT

STREAM = (
    b"\xef\xbb\xbfretry: 250\n\nid: 1\nevent: queued\ndata: {}\n\n: still here\n\n"
    b'id:2\r\nevent: segment\r\ndata: {"why":\r\ndata: "a\xe2\x80\xa8b\xc2\x85"}\r\n\r\n:\r\revent: nothing\r\r'
    b'id: 3\rid: none\revent: progress\rdata: {"done": 1}\r\rid: 4\ndata: {"cut": "o'
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_whole_however_they_come(size):
    parser = EventParser()
    told = [event for at in range(0, len(STREAM), size) for event in parser.feed(STREAM[at : at + size])]
    assert [(one.number, one.kind, one.data) for one in told] == [
        (1, "queued", {}),
        (2, "segment", {"why": "a\u2028b\x85"}),
        (3, "progress", {"done": 1}),
    ]
    assert parser.retry_s == 0.25


def test_the_client_needs_nothing_of_the_server():
    heavy = "{'torch', 'ray', 'litestar', 'sqlmodel', 'sqlalchemy', 'av', 'numpy'} & set(sys.modules)"
    code = f"import sys, serving.client_cli, serving.client, serving.watching; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "set()\n", done.stderr
