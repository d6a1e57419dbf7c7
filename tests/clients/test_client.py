"""The client and the service: real processes, real stores; what is asked, reserved, reported, and known offline."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from nextpanel_billing_client import BillingClient, Declined, Question, Refused, Unreachable, Verdict

from core.clock import unix_time
from core.licensing.lease import LIFE, OFFLINE_GRACE, TOLERANCE
from db.models.licensing import LicenseType
from devstack.ports import choose
from tests.clients.service import Service, eventually
from tests.support.databases import change
from tests.support.people import Desk

HOUR: Final = 3600


@pytest.fixture
async def billing(service: Service, store: Path) -> AsyncIterator[BillingClient]:
    async with service.client(store) as billing:
        yield billing


@pytest.fixture
async def key(desk: Desk, billing: BillingClient) -> str:
    """Of a license for 1 account, 3 domains and 5 databases that the validator knows."""
    issued = await desk.a_license(await desk.a_user(), LicenseType.STARTER)

    async def is_known() -> bool:
        return (await billing.validate(issued.key, "backups")).valid

    await eventually(is_known)
    return issued.key


async def leased(billing: BillingClient, key: str) -> None:
    """Waits for the lease that the worker signs for a new license."""

    async def has_lease() -> bool:
        try:
            return await billing.fetch_lease(key)
        except Unreachable:
            return False

    await eventually(has_lease)


@pytest.fixture
async def lonely(service: Service, store: Path, key: str) -> Path:
    """The file of a panel that has fetched a lease and was switched off."""
    lonely = store.with_name("lonely.db")
    async with service.client(lonely) as panel:
        await leased(panel, key)
    return lonely


def cut_off(service: Service, store: Path, *, later: float = 0) -> BillingClient:
    """The same panel after a restart, with its network gone, its clock at that many seconds from now."""
    nowhere = f"http://127.0.0.1:{choose('127.0.0.1')}"
    clock = lambda: unix_time() + later  # noqa: E731  a clock is a function
    return service.client(store, validator_url=nowhere, billing_url=nowhere, patience=1.2, clock=clock)


async def left(billing: BillingClient, key: str, feature: str = "create_database") -> int | None:
    return (await billing.validate(key, feature)).remaining_quota


async def test_what_is_created_in_a_reservation_is_counted(billing: BillingClient, key: str) -> None:
    assert await left(billing, key) == 5
    async with billing.reserve(key, "databases", 2, ttl=2) as hold:
        assert hold.remaining_quota == 3
        assert await eventually(lambda: _is(left(billing, key), 3))
    assert await eventually(lambda: _is(billing.waiting_reports(), 0))
    assert await eventually(lambda: _is(left(billing, key), 3))
    await billing.report(key, "databases", "deleted", 1)
    assert await eventually(lambda: _is(left(billing, key), 4))


async def _is(value: Any, expected: Any) -> bool:
    return bool(await value == expected)


async def test_what_fails_in_a_reservation_is_given_back(billing: BillingClient, key: str) -> None:
    async def create() -> None:
        async with billing.reserve(key, "databases", 5, ttl=60):
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        await create()
    assert await eventually(lambda: _is(left(billing, key), 5))  # long before the minute is over
    assert await billing.waiting_reports() == 0


async def test_a_cancelled_reservation_is_given_back(billing: BillingClient, key: str) -> None:
    begun = asyncio.Event()

    async def create() -> None:
        async with billing.reserve(key, "databases", 5, ttl=60):
            begun.set()
            await asyncio.Event().wait()

    creating = asyncio.create_task(create())
    await begun.wait()
    creating.cancel()
    await asyncio.gather(creating, return_exceptions=True)
    assert creating.cancelled()
    assert await eventually(lambda: _is(left(billing, key), 5))


async def test_two_panels_cannot_both_take_the_last_one(billing: BillingClient, key: str) -> None:
    taken, declined = [], []

    async def take() -> None:
        try:
            async with billing.reserve(key, "domains") as hold:
                taken.append(hold)
        except Declined as refusal:
            declined.append((refusal.code, refusal.remaining_quota))

    await asyncio.gather(*(take() for _ in range(8)))
    assert len(taken) == 3
    assert declined == [("QUOTA_EXCEEDED", 0)] * 5
    assert await eventually(lambda: _is(billing.waiting_reports(), 0))
    assert await left(billing, key, "create_domain") == 0


async def test_many_questions_keep_their_order(billing: BillingClient, key: str) -> None:
    features = ["backups", "create_database", "unheard of"] * 70
    verdicts = await billing.validate_many([Question(key, feature) for feature in features])
    assert [verdict.code for verdict in verdicts] == ["VALID", "VALID", "FEATURE_NOT_INCLUDED"] * 70
    assert [verdict.remaining_quota for verdict in verdicts[:3]] == [None, 5, 0]
    assert await billing.validate_many([]) == []


async def test_a_wrong_secret_is_no_verdict(service: Service, store: Path, key: str) -> None:
    async with service.client(store.with_name("other.db"), secret="another") as stranger:
        with pytest.raises(Refused, match="invalid_signature") as refusal:
            await stranger.validate(key, "backups")
    assert refusal.value.status == 401


async def test_the_validator_goes_and_comes_back(service: Service, billing: BillingClient, key: str) -> None:
    await leased(billing, key)
    assert not (await billing.validate(key, "backups")).offline
    service.stop("validator")
    try:
        verdict = await billing.validate(key, "backups")
        assert (verdict.valid, verdict.code, verdict.offline, verdict.reduced) == (True, "VALID", True, False)
        with pytest.raises(Unreachable):
            async with billing.reserve(key, "databases"):
                pass
    finally:
        service.start("validator")
    assert not (await billing.validate(key, "backups")).offline


async def test_a_lease_comes_by_itself(service: Service, billing: BillingClient, store: Path, key: str) -> None:
    """The fixture has asked once and heard yes; the first try may have come before the worker had signed."""
    await leased(billing, key)
    fresh = store.with_name("fresh.db")
    async with service.client(fresh) as other:
        assert (await other.validate(key, "backups")).valid

        async def answers_offline() -> Verdict | None:
            async with cut_off(service, fresh) as panel:
                try:
                    return await panel.validate(key, "backups")
                except Unreachable:
                    return None

        assert (await eventually(answers_offline)).offline  # type: ignore[union-attr]  # eventually is not None


async def test_the_ladder(service: Service, lonely: Path, key: str) -> None:
    async with cut_off(service, lonely) as panel:
        verdict = await panel.validate(key, "create_database", used=2)
        assert (verdict.valid, verdict.remaining_quota, verdict.offline) == (True, 3, True)
        assert (await panel.validate(key, "create_database", used=5)).code == "QUOTA_EXCEEDED"
        assert (await panel.validate(key, "unheard of")).code == "FEATURE_NOT_INCLUDED"
        with pytest.raises(Unreachable):
            await panel.validate(key, "create_database")  # a lease does not know what is used
        both = [Question(key, "backups"), Question(key, "create_database", used=4)]
        assert [one.remaining_quota for one in await panel.validate_many(both)] == [None, 1]
        with pytest.raises(Unreachable):
            await panel.validate_many([*both, Question("NP-0000-0000-0000", "backups")])
    async with cut_off(service, lonely, later=LIFE * 1.2) as panel:
        verdict = await panel.validate(key, "backups")
        assert (verdict.valid, verdict.code, verdict.offline, verdict.reduced) == (True, "GRACE", True, True)
        with pytest.raises(Unreachable):
            await panel.validate(key, "create_database", used=2)  # nothing new on the second rung
    async with cut_off(service, lonely, later=LIFE * 1.2 + OFFLINE_GRACE) as panel:
        with pytest.raises(Unreachable):
            await panel.validate(key, "backups")


async def test_a_clock_set_back_is_noticed(service: Service, lonely: Path, key: str) -> None:
    for later, told in ((5 * HOUR, True), (5 * HOUR - TOLERANCE - 60, False), (6 * HOUR, True), (HOUR, False)):
        async with cut_off(service, lonely, later=later) as panel:
            if told:
                assert (await panel.validate(key, "backups")).offline
            else:
                with pytest.raises(Unreachable):
                    await panel.validate(key, "backups")
    async with service.client(lonely) as panel:
        await leased(panel, key)  # the service has agreed with the clock as it is now
    async with cut_off(service, lonely) as panel:
        assert (await panel.validate(key, "backups")).offline


async def test_a_refusal_that_was_heard_stays_heard(
    service: Service, billing: BillingClient, store: Path, key: str
) -> None:
    await leased(billing, key)
    await change(service.urls, "UPDATE licenses SET status = 'suspended'")

    async def is_suspended() -> bool:
        return (await billing.validate(key, "backups")).code == "SUSPENDED"

    await eventually(is_suspended)
    async with cut_off(service, store) as panel:
        with pytest.raises(Unreachable):
            await panel.validate(key, "backups")
    assert not await billing.fetch_lease(key)


async def test_who_asks_for_a_lease_hears_a_refusal_as_well(service: Service, lonely: Path, key: str) -> None:
    await change(service.urls, "UPDATE licenses SET status = 'suspended'")
    async with service.client(lonely) as panel:

        async def is_refused() -> bool:
            try:
                return not await panel.fetch_lease(key)
            except Unreachable:
                return False

        await eventually(is_refused)
    async with cut_off(service, lonely) as panel:
        with pytest.raises(Unreachable):
            await panel.validate(key, "backups")


async def test_a_lease_that_somebody_has_improved(service: Service, lonely: Path, key: str) -> None:
    with closing(sqlite3.connect(lonely)) as file, file:
        (token,) = file.execute("SELECT token FROM leases").fetchone()
        head, claims, signature = token.split(".")
        file.execute("UPDATE leases SET token = ?", (f"{head}.{claims[:-4]}AAAA.{signature}",))
    async with cut_off(service, lonely) as panel:
        with pytest.raises(Unreachable):
            await panel.validate(key, "backups")


async def test_the_key_of_a_license_lies_nowhere_beside_its_lease(lonely: Path, key: str) -> None:
    kept = b"".join([file.read_bytes() for file in lonely.parent.glob("lonely.db*")])
    assert b"eyJ" in kept
    assert key.encode() not in kept
