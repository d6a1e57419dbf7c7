"""The OpenAPI document describes everything. Names that still have gaps are listed; the list only shrinks."""

from functools import cache
from typing import Any

from billing_api.server.openapi_files import described_app
from billing_api.server.reference.document import document
from tests.support.openapi_gaps import gaps, missing_examples
from tests.support.servers import ROOT

STILL_OPEN = frozenset((ROOT / "tests/billing_api/server/undescribed.txt").read_text().splitlines())


@cache
def described() -> dict[str, Any]:
    return document(described_app())


def test_nothing_is_undescribed() -> None:
    """tests/support/openapi_gaps.py says how to describe a new route."""
    found = gaps(described())
    for name, lacking in missing_examples(described()).items():
        found.setdefault(name, []).append(f"example of {lacking}")
    new = {name: lacking for name, lacking in found.items() if name not in STILL_OPEN}
    assert not new, "describe these: tests/support/openapi_gaps.py says how"


def test_what_has_been_described_is_not_listed_any_more() -> None:
    still = gaps(described()).keys() | missing_examples(described()).keys()
    assert not STILL_OPEN - still, "take these out of undescribed.txt"
