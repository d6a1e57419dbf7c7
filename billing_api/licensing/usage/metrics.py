"""Metrics of usage reports, summed over the API's processes (billing_api/server/metrics.py)."""

import collections
from collections.abc import Iterable
from typing import Final

from prometheus_client import Counter, Histogram

from billing_api.licensing.usage.batch_counting import Counted
from core.errors import Refusal

BATCH = Histogram(
    "billing_api_usage_batch_reports",
    "Usage reports that shared one transaction",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000),
)
_REPORTS = Counter("billing_api_usage_reports", "Usage reports by outcome", ["outcome"])


_children: Final[dict[str, Counter]] = {}


def count(outcomes: Iterable[Counted | Refusal]) -> None:
    """By outcome: counted, overage (counted, and over the limit), replayed, or the code of a refusal."""
    for name, number in collections.Counter(map(_name, outcomes)).items():
        _child(name).inc(number)


def _child(name: str) -> Counter:
    """The counter with this label. Cached: there is one for each code."""
    child = _children.get(name)
    if child is None:
        child = _children[name] = _REPORTS.labels(name)
    return child


def _name(outcome: Counted | Refusal) -> str:
    if isinstance(outcome, Refusal):
        return outcome.code
    if outcome.replayed:
        return "replayed"
    return "overage" if outcome.overage else "counted"
