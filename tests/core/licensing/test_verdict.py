"""Verdict: the rules, compared with a second implementation that is written in another way."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.licensing.plan import RESOURCE_OF_FEATURE, RESOURCES
from core.licensing.record import LicenseRecord, Usage
from core.licensing.state import Status
from core.licensing.verdict import Code, Verdict, explain, holds_until, judge, standing

NOTHING = Usage()
RECORD = LicenseRecord(
    epoch=1,
    version=1,
    license_id=UUID(int=1),
    status=Status.ACTIVE,
    valid_from=100.0,
    valid_until=200.0,
    features={"backups": True, "white_label": False},
    limits={"accounts": 5, "domains": 3, "databases": 0, "emails": None},
)

_INSTANTS = st.one_of(st.none(), st.sampled_from([90.0, 100.0, 110.0, 120.0]))
_COUNTS = st.dictionaries(st.sampled_from(RESOURCES), st.integers(-3, 12))
_FEATURES = [*RESOURCE_OF_FEATURE, "backups", "white_label", "unheard_of"]
RECORDS = st.builds(
    LicenseRecord,
    epoch=st.just(1),
    version=st.just(1),
    license_id=st.just(UUID(int=1)),
    status=st.sampled_from([Status.ACTIVE] * 6 + list(Status)),
    valid_from=_INSTANTS,
    valid_until=_INSTANTS,
    grace_until=_INSTANTS,
    features=st.dictionaries(st.sampled_from(_FEATURES), st.booleans()),
    limits=st.dictionaries(st.sampled_from(RESOURCES), st.one_of(st.none(), st.integers(0, 12))),
    fingerprint_required=st.booleans(),
    fingerprint=st.sampled_from([None, "a"]),
    tombstone=st.sampled_from([False] * 9 + [True]),
)
QUESTIONS = st.tuples(
    st.one_of(st.none(), RECORDS),
    st.builds(Usage, used=_COUNTS, held=st.dictionaries(st.sampled_from(RESOURCES), st.integers(0, 5))),
    st.sampled_from(_FEATURES),
    st.sampled_from([None, "a", "b"]),
    st.sampled_from([89.0, 90.0, 100.0, 109.9, 110.0, 120.0, 121.0]),
)


def second_opinion(
    record: LicenseRecord | None, usage: Usage, feature: str, fingerprint: str | None, now: float
) -> tuple[str, int | None]:
    """The same rules as one list of conditions, each stated in full and without regard to the others."""
    if record is None:
        return "NOT_FOUND", 0
    start = float("-inf") if record.valid_from is None else record.valid_from
    end = float("inf") if record.valid_until is None else record.valid_until
    last = end if record.grace_until is None else max(end, record.grace_until)
    resource = RESOURCE_OF_FEATURE.get(feature)
    if resource is None:
        included, limit = record.features.get(feature) is True, None
    else:
        included = resource in record.limits and record.features.get(feature) is not False
        limit = record.limits.get(resource)
    used = max(usage.used.get(resource, 0), 0) + usage.held.get(resource, 0) if resource else 0
    refusals = {
        "NOT_FOUND": record.tombstone,
        "SUSPENDED": record.status == "suspended",
        "CANCELLED": record.status == "cancelled",
        "EXPIRED": record.status == "expired" or now >= last,
        "NOT_YET_VALID": now < start,
        "FINGERPRINT_REQUIRED": record.fingerprint_required and fingerprint is None,
        "FINGERPRINT_MISMATCH": None not in {fingerprint, record.fingerprint} and fingerprint != record.fingerprint,
        "FEATURE_NOT_INCLUDED": not included,
        "QUOTA_EXCEEDED": limit is not None and used >= limit,
    }
    for code, applies in refusals.items():
        if applies:
            return code, 0
    return ("GRACE" if now >= end else "VALID"), (None if limit is None else limit - used)


@given(QUESTIONS)
def test_two_opinions_agree(question: Any) -> None:
    verdict = judge(*question)
    assert (verdict.code.value, verdict.remaining) == second_opinion(*question)


@given(QUESTIONS)
def test_an_explanation_leads_to_the_verdict(question: Any) -> None:
    found = explain(*question)
    assert next(finding.rule for finding in found if finding.applies) is judge(*question).code
    order = list(Code)
    assert [order.index(finding.rule) for finding in found] == sorted(order.index(finding.rule) for finding in found)


@pytest.mark.parametrize("until", [200.0, datetime.max.replace(tzinfo=UTC).timestamp(), 1e18])
def test_an_explanation_names_instants_that_people_read(until: float) -> None:
    """Also that of a license that never ends, whose last microsecond is rounded up into the year 10000."""
    record = msgspec.structs.replace(RECORD, valid_until=until, grace_until=None)
    found = {finding.rule: finding.saw for finding in explain(record, NOTHING, "backups", None, 150.0)}
    assert found[Code.EXPIRED]["now"] == datetime.fromtimestamp(150, UTC)
    assert found[Code.EXPIRED]["valid_until"] == datetime.fromtimestamp(min(until, 253_402_300_799), UTC)
    assert found[Code.EXPIRED]["grace_until"] is None
    assert found[Code.NOT_YET_VALID] == {
        "now": found[Code.EXPIRED]["now"],
        "valid_from": datetime.fromtimestamp(100, UTC),
    }


@given(QUESTIONS)
def test_only_a_yes_leaves_anything(question: Any) -> None:
    verdict = judge(*question)
    assert verdict.valid is (verdict.code in {Code.VALID, Code.GRACE})
    if not verdict.valid:
        assert verdict.remaining == 0
    elif verdict.remaining is not None:
        assert verdict.remaining > 0


@given(QUESTIONS)
def test_nothing_changes_before_it_is_said_to(question: Any) -> None:
    """A cached answer may be given until `holds_until`."""
    record, usage, feature, fingerprint, now = question
    if record is None:
        return
    until = holds_until(record, now)
    assert until > now
    for later in (89.5, 95.0, 99.0, 105.0, 115.0, 119.0, 1000.0):
        if now <= later < until:
            assert judge(record, usage, feature, fingerprint, later) == judge(*question)


@pytest.mark.parametrize(
    ("now", "grace_until", "code"),
    [
        (99.9, None, Code.NOT_YET_VALID),
        (100.0, None, Code.VALID),
        (199.9, None, Code.VALID),
        (200.0, None, Code.EXPIRED),
        (200.0, 300.0, Code.GRACE),
        (299.9, 300.0, Code.GRACE),
        (300.0, 300.0, Code.EXPIRED),
        (150.0, 300.0, Code.VALID),
    ],
)
def test_an_instant_belongs_to_what_begins_with_it(now: float, grace_until: float | None, code: Code) -> None:
    record = msgspec.structs.replace(RECORD, grace_until=grace_until)
    assert standing(record, None, now) is code


def test_suspension_is_told_before_an_empty_quota() -> None:
    record = msgspec.structs.replace(RECORD, status=Status.SUSPENDED)
    assert judge(record, NOTHING, "create_database", None, 150.0) == Verdict(Code.SUSPENDED, 0)
    assert judge(RECORD, NOTHING, "create_database", None, 150.0) == Verdict(Code.QUOTA_EXCEEDED, 0)


def test_what_is_held_counts_as_used() -> None:
    usage = Usage(used={"domains": 1}, held={"domains": 1})
    assert judge(RECORD, usage, "create_domain", None, 150.0) == Verdict(Code.VALID, 1)


def test_a_flag_can_take_a_counted_feature_away_but_not_give_it() -> None:
    without = msgspec.structs.replace(RECORD, features={"create_domain": False})
    assert judge(without, NOTHING, "create_domain", None, 150.0).code is Code.FEATURE_NOT_INCLUDED
    given_by_flag = msgspec.structs.replace(RECORD, features={"create_domain": True}, limits={})
    assert judge(given_by_flag, NOTHING, "create_domain", None, 150.0).code is Code.FEATURE_NOT_INCLUDED


def test_a_fingerprint_that_is_not_bound_yet_is_anybody_s() -> None:
    record = msgspec.structs.replace(RECORD, fingerprint_required=True)
    assert standing(record, "whatever", 150.0) is Code.VALID
    assert standing(record, None, 150.0) is Code.FINGERPRINT_REQUIRED
