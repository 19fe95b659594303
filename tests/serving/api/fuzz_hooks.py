"""What schemathesis is told about this API that its schema cannot say. It loads this file itself, see `fuzz_config`."""

import json
import re
from pathlib import Path

import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure
from schemathesis.specs.openapi import checks

#: What a well-formed request may be refused for all the same: status, what `code` or `detail` says, and why that is so.
EXPLAINED = (
    (
        422,
        r"",
        "it is no video, no address to go to, or a key that stands for another request: a schema says no such thing",
    ),
    (413, r"", "more bytes than there is room for, which settings say"),
    (460, r"", "bytes that are not those of a checksum"),
    (412, r"", "another version than the one that `If-Match` names"),
    (416, r"", "a range behind the end, which schemas do not know"),
    (403, r"url_refused", "a signature is what was given out; it has no form"),
    (410, r"", "an upload that is over"),
    (400, r"the cursor is not one|the cursor is of a list", "a cursor is what was given out; it has no form"),
    (400, r"invalid_spec", "rules between the fields of a spec or a vocabulary"),
    (400, r"a value cannot be kept", "zero characters, which PostgreSQL has none of, and times beyond its own"),
    (400, r"has a control character in it", "characters that are in no name; names of models have no pattern"),
    (400, r"too much metadata", "bytes and levels of a document, which schemas do not count"),
    (400, r"with its tag|without its tag", "one parameter that goes with another"),
    (400, r"the length of the upload", "one of two headers"),
    (400, r"Upload-Metadata|Upload-Checksum|an upload without bytes", "headers in forms of their own (tus)"),
    (400, r"a part of the query|nothing is looked for|a picture is no base64", "one of several fields, and base64"),
    (400, r"an item is not one thing|a segment and a stretch", "one of several fields"),
    (400, r"a stretch that (is not in the video|ends before)", "numbers that go with another, or with a video"),
    (400, r"no moment is in that stretch", "one parameter that goes with another"),
    (400, r"weights: ", "numbers by name, in one parameter"),
    (400, r"key:value", "a name and a value, in one parameter"),
    (400, r"holds no entity tags", "a pattern that schemathesis does not always make values of"),
    (400, r"Expected `int( \| null)?`, got `float`", "4.0, which is an integer to JSON Schema, and none to us"),
    (400, r"a body in TOML holds no name", "a parameter that goes with one of two types"),
    (400, r"the length of an upload does not change", "what was said before"),
    (400, r"the body is empty|the body is missing", "no bytes are a body as well"),
    (400, r"the form cannot be taken", "the order of a form's parts"),
    (400, r"too long for a signed URL", "what a setting says"),
    (400, r"the old password is another one", "what nobody but its owner knows"),
    (400, r"the password is too", "characters and bytes that are counted otherwise than a schema counts"),
)


def _explained(response, case) -> str | None:
    text = response.content.decode("utf-8", "replace")
    # An answer to HEAD does not say what is wrong; that of GET, which is asked for all the same, does.
    silent = case.method == "HEAD"
    return next(
        (
            why
            for status, said, why in EXPLAINED
            if status == response.status_code and (silent or re.search(said, text))
        ),
        None,
    )


def _note(check: str, case, why: str) -> None:
    with Path("explained.jsonl").open("a") as notes:
        notes.write(json.dumps({"check": check, "operation": case.operation.label, "why": why}) + "\n")


@schemathesis.check
def valid_is_accepted(ctx, response, case):
    """`positive_data_acceptance`, but for what is explained."""
    try:
        return checks.positive_data_acceptance(ctx, response, case)
    except Failure:
        why = _explained(response, case)
        if why is None:
            raise
        _note("positive_data_acceptance", case, why)
        return None


@schemathesis.check
def no_fault(ctx, response, case):
    """`not_a_server_error`, but for what needs the graph, which is away here: it says so, and when to come again."""
    away = response.status_code == 503 and b'"engine_unavailable"' in response.content
    if away and case.operation.label == "POST /v1/embeddings" and response.headers.get("retry-after"):
        return None
    return not_a_server_error(ctx, response, case)


@schemathesis.check
def wrong_is_refused(ctx, response, case):
    """`negative_data_rejection`, but for headers that are not known: there always are some."""
    try:
        return checks.negative_data_rejection(ctx, response, case)
    except Failure as failure:
        if "in header - object with unexpected properties" not in str(failure):
            raise
        return None


@schemathesis.check
def missing_is_refused(ctx, response, case):
    """`missing_required_header`, but for who comes without a key and with a signed URL that is not good: they are known
    for that, and told so."""
    # An answer to HEAD does not say which problem it is.
    said = b'"url_refused"' in response.content or (case.method == "HEAD" and "signature" in (case.query or {}))
    if response.status_code == 403 and said:
        return None
    return checks.missing_required_header(ctx, response, case)


@schemathesis.check
def made_is_there(ctx, response, case):
    """`ensure_resource_availability`, but for what a video's report has to be there for."""
    if b"the video has no report yet" in response.content or b"the job has no report" in response.content:
        return None
    return checks.ensure_resource_availability(ctx, response, case)


@schemathesis.check
def answers_are_as_described(ctx, response, case):
    """`response_schema_conformance`, but for streams: OpenAPI 3.1 describes one as a text as a whole, and schemathesis
    would have each event be that text. Tests of their own look at events."""
    if response.headers.get("content-type", [""])[0].startswith("text/event-stream"):
        return None
    return checks.response_schema_conformance(ctx, response, case)


#: Bytes that begin as a video does, mostly.
_VIDEOS = st.one_of(st.binary(max_size=200).map(lambda more: b"\x1aE\xdf\xa3" + more), st.binary(max_size=50))
for _name in ("application/octet-stream", "video/mp4", "application/offset+octet-stream", "application/x-tar"):
    schemathesis.openapi.media_type(_name, _VIDEOS)


@schemathesis.serializer("application/toml")
def as_it_is(ctx, value):
    """Texts of a type that schemathesis does not know."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
