"""Counts what runs of schemathesis did, from the events that they wrote down."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

#: Checks that have to have run, or nothing was proved.
CHECKS = (
    "no_fault",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "answers_are_as_described",
    "wrong_is_refused",
    "valid_is_accepted",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "made_is_there",
    "ignored_auth",
)


class Count:
    """Of all runs together."""

    def __init__(self) -> None:
        self.cases: Counter[tuple[str, str, str]] = Counter()
        """Requests, by who asked, phase and operation."""
        self.statuses: Counter[tuple[str, str, int]] = Counter()
        """Answers, by who asked, operation and status."""
        self.checks: Counter[str] = Counter()
        """How often each was held against an answer."""
        self.explained: Counter[str] = Counter()
        """Well-formed requests that were refused, by why they may be."""
        self.failures: list[dict[str, Any]] = []
        self.errors: list[str] = []
        """What kept schemathesis from doing its work."""

    @property
    def total(self) -> int:
        """Requests that were answered and checked."""
        return self.cases.total()

    def reached(self, who: str) -> set[str]:
        """Operations that did for this caller what they are there for, at least once."""
        return {
            operation
            for name, operation, status in self.statuses
            if name == who and status < 400 and not operation.startswith("OPTIONS")
        }

    def add(self, who: str, folder: Path) -> None:
        """What one run left in its folder."""
        ended = False
        for line in (folder / "events.ndjson").open():
            ((kind, event),) = json.loads(line).items()
            if kind == "ScenarioFinished":
                self._scenario(who, event)
            elif kind in ("NonFatalError", "FatalError", "Interrupted"):
                self.errors.append(f"{who}: {json.dumps(event)[:1000]}")
            ended = ended or kind == "EngineFinished"
        if not ended:
            self.errors.append(f"{who}: it did not end: {(folder / 'output.txt').read_text()[-2000:]}")
        notes = folder / "explained.jsonl"
        for line in notes.open() if notes.exists() else ():
            self.explained[json.loads(line)["why"]] += 1

    def _scenario(self, who: str, event: dict[str, Any]) -> None:
        recorder = event["recorder"]
        for name, interaction in recorder.get("interactions", {}).items():
            case = recorder["cases"][name]["value"]
            operation, answer = f"{case['method']} {case['path']}", interaction.get("response")
            self.cases[who, event["phase"], operation] += 1
            if answer is None:
                self.failures.append({"who": who, "operation": operation, "what": "no answer", "case": case})
                continue
            self.statuses[who, operation, answer["status_code"]] += 1
            for check in recorder.get("checks", {}).get(name, ()):
                self.checks[check["name"]] += 1
                if check["status"] != "success":
                    about = {"request": interaction["request"], "status": answer["status_code"]}
                    self.failures.append(
                        {"who": who, "phase": event["phase"], "operation": operation, "check": check, **about}
                    )

    def told(self) -> dict[str, Any]:
        """As JSON."""
        by_phase: Counter[str] = Counter()
        by_operation: dict[str, Counter[str]] = {}
        for (_, phase, operation), number in self.cases.items():
            by_phase[phase] += number
            by_operation.setdefault(operation, Counter())[phase] += number
        by_status: Counter[int] = Counter()
        for (_, _, status), number in self.statuses.items():
            by_status[status] += number
        return {
            "cases": self.total,
            "by_phase": by_phase,
            "by_who": _summed(self.cases, 0),
            "statuses": dict(sorted(by_status.items())),
            "by_operation": by_operation,
            "checks": self.checks,
            "explained": self.explained,
            "failures": self.failures,
            "errors": self.errors,
        }


def _summed(counts: Counter[Any], place: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for key, number in counts.items():
        found[key[place]] += number
    return found
