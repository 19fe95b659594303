"""How schemathesis is set up: what it is to try, and what it knows."""

import json
from pathlib import Path
from typing import Any, Final

#: Longest that an answer may take, seconds. Jobs that `Prefer: wait` has waited for end soon.
TIMEOUT_S: Final = 20

ALL_PHASES: Final = ("examples", "coverage", "fuzzing", "stateful")

#: Checks that are ours instead, with what they let pass and why: see `fuzz_hooks`.
_OURS: Final = (
    "positive_data_acceptance",
    "negative_data_rejection",
    "response_schema_conformance",
    "ensure_resource_availability",
    "not_a_server_error",
    "missing_required_header",
)

#: Check -> statuses that it takes for right.
_EXPECTED: Final[dict[str, list[str]]] = {
    # As tus has it, a request without its version is refused with 412, whatever else is wrong with it, and one with a
    # wrong checksum with 460. Uploads that are over are 410, lengths beyond all bounds 413.
    "negative_data_rejection": [
        *("400", "401", "403", "404", "405", "406", "409", "410", "412", "413", "415", "422", "428", "429", "460")
    ],
    "missing_required_header": ["400", "401", "403", "404", "412"],
}


def config(known: dict[str, list[str]], token: str | None, *, seed: int, examples: int, phases: tuple[str, ...]) -> str:
    """A `schemathesis.toml`. `known`: parameter -> values that reach something; `examples`: cases of an operation."""
    lines = [
        f"seed = {seed}",
        f"hooks = {json.dumps(str(Path(__file__).with_name('fuzz_hooks.py')))}",
        "continue-on-failure = true",
        f"request-timeout = {TIMEOUT_S}",
        "max-stream-events = 5",
        'suppress-health-check = ["all"]',
        "warnings = false",
        *_table("generation", {"max-examples": examples, "database": "none", "allow-x00": True, "no-shrink": True}),
        *(_table("auth.openapi.key", {"bearer": token}) if token else ()),
        *(line for name in ALL_PHASES for line in _table(f"phases.{name}", {"enabled": name in phases})),
        *(line for name in sorted({*_OURS, *_EXPECTED}) for line in _table(f"checks.{name}", _check(name))),
        *_table("reports.ndjson", {"enabled": True, "path": "events.ndjson"}),
        *_table("output.sanitization", {"enabled": False}),
    ]
    for number, values in enumerate(known.values()):
        lines += _table(f"dictionaries.known_{number}", {"values": values})
    bound = {name: f'{{dictionary = "known_{number}", probability = 0.7}}' for number, name in enumerate(known)}
    lines += ["[parameters]", *(f"{json.dumps(name)} = {value}" for name, value in bound.items())]
    return "\n".join(lines) + "\n"


def _check(name: str) -> dict[str, Any]:
    expected = {"expected-statuses": _EXPECTED[name]} if name in _EXPECTED else {}
    return {"enabled": name not in _OURS, **expected}


def _table(name: str, values: dict[str, Any]) -> list[str]:
    # Texts, numbers, truths and lists of them are written alike in JSON and TOML.
    return [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
