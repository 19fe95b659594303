"""Which rule says how long a video is kept. Pure: no clock, no database."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Rule:
    """How long videos are kept that have a label, or that no rule with a label is about."""

    id: str
    label: str | None
    keep_days: int | None
    """None: for ever."""


def ruling(labels: Iterable[str], rules: Sequence[Rule]) -> Rule | None:
    """The rule that holds for a video; None: none does, it stays.

    A rule for a label goes before the one for all; of several labels, the rule that keeps longest: what was deleted too
    late can still be deleted.

        ruling(["match", "evidence"], [all: 30 days, match: 7 days, evidence: for ever])  ->  evidence
        ruling([], the same)                                                              ->  all
    """
    has = set(labels)
    of_labels = [rule for rule in rules if rule.label in has]
    rest = [rule for rule in rules if rule.label is None]
    return max(of_labels or rest, key=lambda rule: (_days(rule), rule.id), default=None)


def due(created_at: datetime, rule: Rule) -> datetime | None:
    """When a video is to go by its rule; None: never."""
    return None if rule.keep_days is None else created_at + timedelta(days=rule.keep_days)


def _days(rule: Rule) -> float:
    return math.inf if rule.keep_days is None else rule.keep_days
