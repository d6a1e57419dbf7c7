"""Overage candidates: none is missing under any concurrency; a superfluous one is deleted later."""

from datetime import timedelta
from typing import Final
from uuid import UUID

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.dialects import postgresql

from billing_api.licensing.licenses import repository
from core.clock import utc_now
from db.models.licensing import License, LicenseType
from db.models.usage import LicenseUsage, OverageCandidate
from db.unit_of_work import Database
from tests.support.databases import change, rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls

LIMIT: Final = 5
"""Databases of a starter license."""


@pytest.fixture
async def license_id(desk: Desk, database_urls: DatabaseUrls) -> UUID:
    """One with four databases in use."""
    owner = await desk.a_user()
    license_id = (await desk.a_license(owner, LicenseType.STARTER)).license.id
    await change(
        database_urls,
        "INSERT INTO license_usage (license_id, resource, user_id, used, version)"
        " VALUES (:id, 'databases', :user, 4, 1)",
        id=license_id,
        user=owner,
    )
    return license_id


async def over(database: Database) -> list[UUID]:
    async with database.as_system() as tx:
        return list(await tx.session.scalars(select(License.id).where(repository.shows_overage(utc_now()))))


async def noted(database: Database) -> list[UUID]:
    async with database.as_system() as tx:
        return list(await tx.session.scalars(select(OverageCandidate.license_id)))


async def forgotten(database: Database, quiet_for: timedelta = timedelta(0)) -> int:
    async with database.as_system() as tx:
        return await repository.delete_stale_candidates(tx, quiet_for)


@pytest.mark.parametrize(
    "step",
    [
        "UPDATE license_usage SET used = 6",
        (
            "INSERT INTO license_usage (license_id, resource, user_id, used, version)"
            " SELECT id, 'domains', user_id, 4, 1 FROM licenses"
        ),
        "UPDATE licenses SET max_databases = 3",
        "UPDATE licenses SET max_databases = 0, max_emails = NULL",
    ],
)
async def test_a_risen_total_or_a_fallen_limit_is_noted(
    database: Database, license_id: UUID, database_urls: DatabaseUrls, step: str
) -> None:
    assert await over(database) == []
    await change(database_urls, step)
    assert await over(database) == await noted(database) == [license_id]
    assert await forgotten(database) == 0


async def test_no_longer_unlimited_is_a_fall(database: Database, license_id: UUID, database_urls: DatabaseUrls) -> None:
    await change(database_urls, "UPDATE licenses SET max_databases = NULL")
    await change(database_urls, "UPDATE license_usage SET used = 900")
    assert await noted(database) == []
    await change(database_urls, "UPDATE licenses SET max_databases = 899")
    assert await over(database) == [license_id]


@pytest.mark.parametrize(
    "way_back",
    ["UPDATE license_usage SET used = 5", "UPDATE licenses SET max_databases = 6", "DELETE FROM license_usage"],
)
async def test_a_license_back_within_its_limits_is_not_listed_and_then_deleted(
    database: Database, license_id: UUID, database_urls: DatabaseUrls, way_back: str
) -> None:
    await change(database_urls, "UPDATE license_usage SET used = 6")
    await change(database_urls, way_back)
    assert await over(database) == []
    assert await forgotten(database, timedelta(minutes=10)) == 0
    assert await noted(database) == [license_id]
    assert await forgotten(database) == 1
    assert await noted(database) == []


@pytest.mark.parametrize("total_first", [True, False])
async def test_a_total_and_a_limit_that_cross_are_noted(
    database: Database, license_id: UUID, *, total_first: bool
) -> None:
    """Neither transaction sees the other's change, and each one alone is within the limits."""
    total = update(LicenseUsage).values(used=LIMIT)
    limit = update(License).values(max_databases=LIMIT - 1)
    first, second = (total, limit) if total_first else (limit, total)
    async with database.as_system() as one:
        await one.session.execute(first)
        async with database.as_system() as other:
            await other.session.execute(second)
    assert await over(database) == [license_id]


async def test_a_candidate_noted_during_the_deletion_stays(
    database: Database, license_id: UUID, database_urls: DatabaseUrls
) -> None:
    await change(database_urls, "UPDATE licenses SET max_databases = 4")
    await change(database_urls, "UPDATE overage_candidates SET noted_at = now() - interval '1 hour'")
    async with database.as_system() as noting:
        await noting.session.execute(update(LicenseUsage).values(used=6))
        assert await noted(database) == [license_id]
    assert await forgotten(database, timedelta(minutes=10)) == 0
    assert await over(database) == [license_id]


async def test_licenses_over_a_limit_are_found_without_a_scan(
    database: Database, desk: Desk, license_id: UUID, database_urls: DatabaseUrls
) -> None:
    await change(
        database_urls,
        "INSERT INTO licenses (id, user_id, plan_id, license_key, license_key_hash, license_type, status, features,"
        " fingerprint_policy, provisioning, activation_date, auto_renew, version, max_databases)"
        " SELECT gen_random_uuid(), user_id, plan_id, '', sha256(convert_to(n::text, 'UTF8')), license_type, status,"
        " features, fingerprint_policy, provisioning, activation_date, auto_renew, 1, 5"
        " FROM licenses, generate_series(1, 5000) AS n",
    )
    await change(
        database_urls,
        "INSERT INTO license_usage (license_id, resource, user_id, used, version)"
        " SELECT id, 'databases', user_id, CASE WHEN random() < 0.002 THEN 6 ELSE 5 END, 1 FROM licenses"
        " ON CONFLICT DO NOTHING",
    )
    await change(database_urls, "ANALYZE licenses, license_usage, overage_candidates, users, plans")
    listed = repository.NEWEST_FIRST.sorted(repository.search()).where(repository.shows_overage(utc_now())).limit(50)
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy left it untyped
    said = str(listed.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    async with database.as_system() as tx:
        plan = "\n".join(await tx.session.scalars(text(f"EXPLAIN {said}")))
    assert "Seq Scan on licenses" not in plan, plan
    assert "Seq Scan on license_usage" not in plan, plan
    assert "overage_candidates" in plan, plan
    expected = await rows(database_urls, "SELECT count(*) AS n FROM license_usage WHERE used > 5")
    assert len(await over(database)) == expected[0]["n"]
