"""Deletion rules: what prevents the deletion of an account."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from billing_api.privacy.rules import PAYABLE_FOR, Ties, obstacles

NOW: Final = datetime(2026, 3, 10, 12, tzinfo=UTC)
NOTHING: Final = Ties(renewing=0, live_licenses=0, last_checkout=None)
JUST_NOW: Final = timedelta(seconds=1)


@pytest.mark.parametrize("end_licenses", [True, False])
def test_nothing_binds_who_has_nothing(end_licenses: bool) -> None:
    assert obstacles(NOTHING, NOW, end_licenses=end_licenses) == []


@pytest.mark.parametrize("end_licenses", [True, False])
def test_what_renews_has_to_be_cancelled_whatever_is_said(end_licenses: bool) -> None:
    (told,) = obstacles(Ties(2, 0, None), NOW, end_licenses=end_licenses)
    assert "2 of your subscriptions renew" in told
    assert "POST /api/v1/subscriptions/{id}/cancel" in told


def test_a_live_license_goes_only_by_its_owners_word() -> None:
    (told,) = obstacles(Ties(0, 1, None), NOW, end_licenses=False)
    assert "`end_licenses: true`" in told
    assert obstacles(Ties(0, 1, None), NOW, end_licenses=True) == []


@pytest.mark.parametrize(
    ("begun", "binds"), [(NOW, True), (NOW - PAYABLE_FOR + JUST_NOW, True), (NOW - PAYABLE_FOR, False)]
)
def test_what_can_still_be_paid_is_waited_for(begun: datetime, binds: bool) -> None:
    told = obstacles(Ties(0, 0, begun), NOW, end_licenses=True)
    assert [f"until {begun + PAYABLE_FOR:%Y-%m-%d %H:%M} UTC" in text for text in told] == [True] * binds


def test_everything_is_told_at_once() -> None:
    assert len(obstacles(Ties(1, 1, NOW), NOW, end_licenses=False)) == 3
