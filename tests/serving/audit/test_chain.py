"""A chain shows whatever was done to it, and nothing where nothing was. No database is needed for that."""

import json
import random
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

from serving.audit.lines import BEGINNING, Head, Line, link, tag
from serving.audit.verifying import Linked, findings
from tests.serving.audit.logs import BEGAN, KEY, chained, edited, sealed, some_lines, some_log, written_out

VECTOR = json.loads((Path(__file__).parent / "vectors.json").read_text())


def _problems(head: Head, links: list[Linked], seal: bytes | None = None) -> list[str]:
    return [one.problem for one in findings(KEY, head, seal or sealed(head), links)]


def test_the_vector_is_what_both_implementations_make():
    (line,) = some_lines(1)
    assert line.encoded().hex() == written_out(line).hex() == VECTOR["line"]
    assert tag(KEY, line).hex() == VECTOR["tag"]
    (one,) = chained([line], "ten_a")
    assert link(KEY, "ten_a", 1, BEGINNING, tag(KEY, line), line, line.id).hex() == one.mac.hex() == VECTOR["link"]
    head = Head("ten_a", 3, 0, 1, 0, BEGINNING, None, 1, one.mac)
    assert head.seal(KEY).hex() == sealed(head).hex() == VECTOR["head"]


def test_both_implementations_agree_and_a_log_as_it_was_written_has_no_findings():
    head, links = some_log()
    assert _problems(head, links) == []
    for one in links:
        assert one.line is not None
        assert one.line.encoded() == written_out(one.line)
    for system in some_lines(3, None):
        assert system.encoded() == written_out(system)
    for cleared in (None, BEGAN, BEGAN - timedelta(days=40_000)):
        some = replace(head, cleared=cleared, first=7, chains=2)
        assert some.seal(KEY) == sealed(some)


def test_old_lines_are_deleted_from_the_beginning_and_the_rest_still_holds():
    head, links = some_log()
    for first in (1, 5, 12):
        gone = links[first - 1]
        shorter = replace(head, first=first, first_mac=gone.mac)
        assert _problems(shorter, links[first:]) == []
        # Not without the head saying so.
        assert "dropped" in _problems(head, links[first:]) or first == 12
        assert _problems(head, links[first:]) != []


def test_what_each_finding_is_called():
    head, links = some_log()

    def found(changed: list[Linked]) -> list[tuple[str, int | None]]:
        return [(one.problem, one.number) for one in findings(KEY, head, sealed(head), changed)]

    assert found([*links[:4], edited(links[4], actor="key_x"), *links[5:]]) == [("changed", 5)]
    assert found([*links[:4], replace(links[4], line=None), *links[5:]]) == [("dropped", 5)]
    assert found([*links[:4], *links[5:]]) == [("dropped", 5), ("changed", 6)]
    assert found(links[:-2]) == [("cut off", 11)]
    assert found([]) == [("cut off", 1)]
    swapped = [replace(links[4], line=links[5].line, id=links[5].id), replace(links[5], line=links[4].line)]
    assert found([*links[:4], *swapped, *links[6:]]) == [("changed", 5), ("changed", 6)]
    assert found([*links, replace(links[-1], number=13)])[:1] == [("added", 13)]
    assert next(findings(KEY, replace(head, number=11), sealed(head), links)).problem == "head altered"


def test_what_was_put_there_before_it_was_linked_is_found_by_its_tag():
    """Who links a line does not vouch for it."""
    head, lines = some_log()[0], some_lines()
    for tagged, problem in ((bytes(32), "forged"), (None, "untagged")):
        made = chained(lines[:-1], "ten_a")
        last = lines[-1]
        mac = link(KEY, "ten_a", 12, made[-1].mac, tagged, last, last.id)
        made.append(Linked(12, last.id, mac, last, tagged))
        assert _problems(replace(head, mac=mac), made) == [problem]
        # From before there were tags, there may be lines without.
        assert _problems(replace(head, mac=mac, tagged=13), made) == ([] if tagged is None else [problem])
    # One that was copied, and put back once it was deleted as old.
    copied = chained(lines, "ten_a")
    late = replace(head, mac=copied[-1].mac, cleared=BEGAN + timedelta(milliseconds=11))
    assert set(_problems(late, copied)) == {"late"}


def test_ten_thousand_changed_logs_are_all_found_out():
    chosen = random.Random(8)
    head, links = some_log()
    seal = sealed(head)
    undetected = []
    for number in range(10_000):
        how, changed = chosen.choice(_CHANGES), None
        while changed is None or changed == (head, seal, links):
            changed = how(chosen, head, seal, list(links))
        if next(findings(KEY, changed[0], changed[1], changed[2]), None) is None:
            undetected.append((number, how.__name__))
    assert undetected == []


def _edit(chosen, head, seal, links):
    """A field of a line."""
    place = chosen.randrange(len(links))
    line = links[place].line
    name = chosen.choice([field.name for field in fields(Line)])
    value = getattr(line, name)
    if name == "at":
        value += timedelta(microseconds=chosen.choice([-1, 1, 10**6, -(10**12)]))
    elif name == "count":
        value ^= 1 << chosen.randrange(20)
    elif name == "targets":
        value = chosen.choice([(*value, "vid_x"), value[1:], tuple(reversed(value)), ("".join(value),)])
    else:
        value = chosen.choice([None, "", f"{value or ''}x", (value or "")[:-1], chosen.choice(links).line.id])
        if name in ("id", "kind", "operation"):
            value = value or "x"
    links[place] = edited(links[place], **{name: value})
    return head, seal, links


def _move_between_fields(chosen, head, seal, links):
    """Bytes from the end of a field to the beginning of the next."""
    place = chosen.randrange(len(links))
    line = links[place].line
    moved = {"kind": line.kind[:-1], "operation": line.kind[-1] + line.operation}
    links[place] = edited(links[place], **moved)
    return head, seal, links


def _drop(chosen, head, seal, links):
    """A stretch of lines, at the end too; or only what is in them."""
    begin = chosen.randrange(len(links))
    end = begin + chosen.randint(1, 3)
    if chosen.random() < 0.3:
        links[begin] = replace(links[begin], line=None)
    else:
        del links[begin:end]
    return head, seal, links


def _drop_and_renumber(chosen, head, seal, links):
    """As if nothing had ever been there."""
    place = chosen.randrange(len(links))
    del links[place]
    links[place:] = [replace(one, number=one.number - 1) for one in links[place:]]
    if chosen.random() < 0.5:
        head = replace(head, number=head.number - 1, mac=links[-1].mac)
    return head, seal, links


def _reorder(chosen, head, seal, links):
    """Two lines, with their links or without."""
    one, other = chosen.sample(range(len(links)), 2)
    first, second = links[one], links[other]
    if chosen.random() < 0.5:
        links[one] = replace(second, number=first.number)
        links[other] = replace(first, number=second.number)
    else:
        links[one] = replace(first, line=second.line, id=second.id, tag=second.tag)
        links[other] = replace(second, line=first.line, id=first.id, tag=first.tag)
    return head, seal, links


def _insert(chosen, head, seal, links):
    """A copy of a line, or a new one, and those behind it moved up, or not."""
    place = chosen.randrange(len(links) + 1)
    new = chosen.choice(links)
    if chosen.random() < 0.5:
        new = edited(new, id="aud_x")
    new = replace(new, number=place + 1, mac=chosen.choice([new.mac, chosen.randbytes(32)]))
    moved = chosen.choice([0, 1])
    links[place:] = [new, *(replace(one, number=one.number + moved) for one in links[place:])]
    if chosen.random() < 0.5:
        head = replace(head, number=head.number + moved, mac=links[-1].mac)
    return head, seal, links


def _cut_off(chosen, head, seal, links):
    """The end, and the head told so."""
    left = chosen.randrange(len(links))
    last = links[left - 1].mac if left else BEGINNING
    return replace(head, number=left, mac=last), seal, links[:left]


def _cut_off_beginning(chosen, head, seal, links):
    """As if it was old."""
    gone = chosen.randint(1, len(links))
    return replace(head, first=gone, first_mac=links[gone - 1].mac), seal, links[gone:]


def _flip(chosen, head, seal, links):
    """A bit of a link, a tag, the head's link, or its seal."""
    what, place = chosen.choice(["mac", "tag", "head", "seal"]), chosen.randrange(len(links))
    if what == "head":
        return replace(head, mac=_flipped(chosen, head.mac)), seal, links
    if what == "seal":
        return head, _flipped(chosen, seal), links
    links[place] = replace(links[place], **{what: _flipped(chosen, getattr(links[place], what))})
    return head, seal, links


def _flipped(chosen, value: bytes) -> bytes:
    changed = bytearray(value)
    changed[chosen.randrange(len(changed))] ^= 1 << chosen.randrange(8)
    return bytes(changed)


def _reseal_without_key(chosen, head, seal, links):
    """All of it made anew, by who has another key."""
    other = chosen.randbytes(32)
    begin = chosen.randrange(len(links))
    previous = links[begin - 1].mac if begin else BEGINNING
    for place in range(begin, len(links)):
        one = links[place]
        line = replace(one.line, actor="key_x") if place == begin else one.line
        mark = tag(other, line)
        previous = link(other, "ten_a", one.number, previous, mark, line, one.id)
        links[place] = Linked(one.number, one.id, previous, line, mark)
    head = replace(head, mac=previous)
    return head, head.seal(other), links


_CHANGES = (
    _edit,
    _move_between_fields,
    _drop,
    _drop_and_renumber,
    _reorder,
    _insert,
    _cut_off,
    _cut_off_beginning,
    _flip,
    _reseal_without_key,
)
