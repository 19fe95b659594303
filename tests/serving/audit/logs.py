"""Logs of tests: a second implementation of their format, written from docs/audit.md alone; and some lines."""

import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from serving.audit.lines import BEGINNING, Head, Line
from serving.audit.verifying import Linked

KEY = bytes(range(32))
BEGAN = datetime(2026, 11, 26, 20, 0, 0, 123456, UTC)


def written_out(line: Line) -> bytes:
    """A line as docs/audit.md says it."""

    def text(value: str | None) -> bytes:
        if value is None:
            return bytes.fromhex("ffffffff")
        return len(value.encode()).to_bytes(4, "big") + value.encode()

    micros = round((line.at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)
    return (
        text(line.id)
        + text(line.tenant_id)
        + micros.to_bytes(8, "big", signed=True)
        + text(line.kind)
        + text(line.operation)
        + text(line.actor)
        + text(line.credential)
        + text(line.address)
        + text(line.request_id)
        + text(line.write)
        + len(line.targets).to_bytes(4, "big")
        + b"".join(text(one) for one in line.targets)
        + text(line.code)
        + line.count.to_bytes(4, "big")
    )


def mac(label: str, content: bytes) -> bytes:
    """By the key of tests."""
    return hmac.new(KEY, label.encode("ascii") + content, hashlib.sha256).digest()


def long(value: bytes) -> bytes:
    """With its length before it."""
    return len(value).to_bytes(4, "big") + value


def chained(lines: list[Line], chain: str, first: int = 0, first_mac: bytes = BEGINNING) -> list[Linked]:
    """Lines in a chain."""
    previous, links = first_mac, []
    for number, line in enumerate(lines, first + 1):
        tag = mac("automations audit tag 1", written_out(line))
        place = long(chain.encode()) + number.to_bytes(8, "big") + previous
        previous = mac("automations audit link 1", place + long(tag) + written_out(line))
        links.append(Linked(number, line.id, previous, line, tag))
    return links


def sealed(head: Head) -> bytes:
    """The seal of a head."""
    numbers = b"".join(value.to_bytes(8, "big") for value in (head.ordinal, head.chains, head.tagged, head.first))
    since = timedelta() if head.cleared is None else head.cleared - datetime(1970, 1, 1, tzinfo=UTC)
    cleared = (since // timedelta(microseconds=1)).to_bytes(8, "big", signed=True)
    content = long(head.chain.encode()) + numbers + head.first_mac + cleared
    return mac("automations audit head 1", content + head.number.to_bytes(8, "big") + head.mac)


def some_lines(count: int = 12, tenant: str | None = "ten_a") -> list[Line]:
    """Lines that differ in all that they may differ in."""
    made = []
    for number in range(count):
        line = Line(
            id=f"aud_{number:026}",
            tenant_id=tenant,
            at=BEGAN + timedelta(milliseconds=number),
            kind=("write", "read", "key", "refusal")[number % 4],
            operation=("create_key", "stream_video", "key.destroy", "get_video")[number % 4],
            actor=None if number % 5 == 4 else f"key_{number % 3}",
            credential=None if number % 5 == 4 else f"ses_{number % 3}",
            address="192.0.2.1" if number % 2 else "2001:db8::1",
            request_id=f"req_{number}" if number % 4 == 0 else None,
            write="key.create" if number % 4 == 0 else None,
            targets=tuple(f"vid_{number}{one}" for one in range(number % 3)),
            code="not_found" if number % 4 == 3 else None,
            count=number % 7 + 1,
        )
        made.append(line)
    assert all(one.at < other.at for one, other in pairwise(made))
    return made


def some_log(count: int = 12) -> tuple[Head, list[Linked]]:
    """A chain that is what was written, and its head."""
    links = chained(some_lines(count), "ten_a")
    head = Head("ten_a", 3, 0, 1, 0, BEGINNING, None, count, links[-1].mac)
    return head, links


def edited(one: Linked, **fields) -> Linked:
    """The same, with fields of its line changed."""
    assert one.line is not None
    return replace(one, line=replace(one.line, **fields))
