"""Periodic tasks, at any time of day."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert

from core.ids import new_id
from core.jobs import DeliverMail
from db.models.all_tables import METADATA
from db.unit_of_work import Database
from tests.support.databases import as_owner, change, rows
from tests.support.people import Desk
from tests.support.rows import STARTER_PLAN, a_row
from tests.support.servers import DatabaseUrls
from workers.jobs.periodic import (
    correct_totals_below_zero,
    create_payment_partitions,
    crons,
    forget_activation_tokens,
    forget_idempotent_answers,
    purge_done_jobs,
    purge_guess_counts,
)
from workers.process.metrics import Metrics


async def test_partitions_are_created_ahead_and_only_once(database: Database, database_urls: DatabaseUrls) -> None:
    await create_payment_partitions(database)  # a month may have ended since the database was made
    [latest] = await rows(
        database_urls,
        "SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months', 'YYYY_MM') AS month",
    )
    await change(database_urls, f"DROP TABLE payments_{latest['month']}")
    assert await create_payment_partitions(database) == 1
    assert await create_payment_partitions(database) == 0
    assert await rows(database_urls, f"SELECT * FROM payments_{latest['month']}") == []


async def test_activation_tokens_are_forgotten_a_month_after_their_end(
    database: Database, database_urls: DatabaseUrls, desk: Desk
) -> None:
    user = await desk.a_user()
    issued = await desk.a_license(user)
    for days in (-31, -29, 1):
        await change(
            database_urls,
            "INSERT INTO activation_tokens (token_hash, license_id, user_id, expires_at)"
            " VALUES (sha256(convert_to(:name, 'UTF8')), :license, :user, now() + make_interval(days => :days))",
            name=str(days),
            license=issued.license.id,
            user=user,
            days=days,
        )
    assert await forget_activation_tokens(database) == 1
    assert await forget_activation_tokens(database) == 0
    assert await rows(database_urls, "SELECT count(*) FROM activation_tokens") == [{"count": 2}]


async def test_idempotent_answers_are_forgotten_after_a_week(database: Database, database_urls: DatabaseUrls) -> None:
    for hours in (7 * 24 + 1, 7 * 24 - 1):
        await change(
            database_urls,
            "INSERT INTO idempotency_keys (scope, key, body_hash, created_at)"
            " VALUES ('a', :key, 'b', now() - make_interval(hours => :hours))",
            key=str(hours),
            hours=hours,
        )
    assert await forget_idempotent_answers(database) == 1
    assert await forget_idempotent_answers(database) == 0
    assert await rows(database_urls, "SELECT key FROM idempotency_keys") == [{"key": "167"}]


_OLD_GUESS: Final = (
    "INSERT INTO guess_counts (account, guesser, counted_at, not_before)"
    " VALUES ('a', 'b', now() - interval '2 days', now())"
)


class Quiet:
    """A queue and a rebuild with nothing to tell."""

    missing = 0
    unfit = None

    async def depth(self) -> int:
        return 0


async def a_payment(urls: DatabaseUrls, created_at: datetime) -> None:
    user_id = new_id()
    made: dict[str, Mapping[str, Any]] = {"plans": {"id": STARTER_PLAN}}
    async with as_owner(urls) as owner:
        for table in METADATA.sorted_tables:
            if table.name == "users" or "user_id" in table.c:
                made[table.name] = a_row(table, user_id, made)
                if table.name == "payments":
                    made[table.name] = {**made[table.name], "created_at": created_at}
                await owner.execute(insert(table).values(made[table.name]))


async def test_a_month_that_cannot_be_made_is_an_alert_and_keeps_no_other_from_being_made(
    database: Database, database_urls: DatabaseUrls
) -> None:
    await create_payment_partitions(database)  # as above
    months = await rows(
        database_urls,
        "SELECT to_char(month, 'YYYY_MM') AS name, month AT TIME ZONE 'UTC' AS begins FROM (SELECT"
        " date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead) AS month"
        " FROM generate_series(2, 3) AS ahead) AS months ORDER BY month",
    )
    for month in months:
        await change(database_urls, f"DROP TABLE payments_{month['name']}")
    metrics = Metrics()
    assert b"np_payments_default_partition_rows 0.0" in await metrics.exposition(database, Quiet(), Quiet())
    await a_payment(database_urls, months[0]["begins"])

    assert await create_payment_partitions(database) == 1
    assert await rows(database_urls, f"SELECT * FROM payments_{months[1]['name']}") == []
    assert b"np_payments_default_partition_rows 1.0" in await metrics.exposition(database, Quiet(), Quiet())

    await change(database_urls, "DELETE FROM payments")
    assert await create_payment_partitions(database) == 1
    assert b"np_payments_default_partition_rows 0.0" in await metrics.exposition(database, Quiet(), Quiet())


async def test_totals_are_corrected_after_ten_minutes_below_zero_and_counted_before_and_after(
    database: Database, database_urls: DatabaseUrls, desk: Desk
) -> None:
    user = await desk.a_user()
    issued = await desk.a_license(user)
    await change(
        database_urls,
        "INSERT INTO license_usage (license_id, resource, user_id, used, events, version)"
        " VALUES (:id, 'databases', :user, -3, 1, 1), (:id, 'domains', :user, -1, 1, 1),"
        " (:id, 'emails', :user, 1, 1, 1)",
        id=issued.license.id,
        user=user,
    )
    told = await Metrics().exposition(database, Quiet(), Quiet())
    assert b"np_usage_below_zero 2.0" in told
    assert b"np_usage_corrected 0.0" in told
    assert await correct_totals_below_zero(database) == 0
    await change(
        database_urls,
        "UPDATE license_usage SET below_since = below_since - interval '11 minutes' WHERE resource = 'databases'",
    )
    assert await correct_totals_below_zero(database) == 1
    totals = await rows(database_urls, "SELECT resource, used, events FROM license_usage ORDER BY resource")
    assert [tuple(total.values()) for total in totals] == [("databases", 0, 2), ("domains", -1, 1), ("emails", 1, 1)]
    told = await Metrics().exposition(database, Quiet(), Quiet())
    assert b"np_usage_below_zero 1.0" in told
    assert b"np_usage_corrected 1.0" in told


async def test_done_jobs_are_purged_after_a_week_and_nothing_else(
    database: Database, database_urls: DatabaseUrls
) -> None:
    async with database.as_system() as tx:
        await tx.enqueue(*(DeliverMail(new_id()) for _ in range(4)))
    ids = [row["id"] for row in await rows(database_urls, "SELECT id FROM outbox ORDER BY id")]
    for outbox_id, column, days in ((ids[0], "done_at", 8), (ids[1], "done_at", 6), (ids[2], "dead_at", 400)):
        statement = f"UPDATE outbox SET {column} = now() - make_interval(days => :days) WHERE id = :id"
        await change(database_urls, statement, id=outbox_id, days=days)
    assert await purge_done_jobs(database) == 1
    assert [row["id"] for row in await rows(database_urls, "SELECT id FROM outbox ORDER BY id")] == ids[1:]


async def test_counted_guesses_go_a_day_after_the_last(database: Database, database_urls: DatabaseUrls) -> None:
    await change(
        database_urls,
        "INSERT INTO guess_counts (account, guesser, guesses, counted_at, not_before)"
        " SELECT 'a', convert_to(hours::text, 'UTF8'), hours, now() - make_interval(hours => hours), now()"
        " FROM unnest(ARRAY[0, 23, 25, 400]) AS hours",
    )
    assert await purge_guess_counts(database) == 2
    assert [row["guesses"] for row in await rows(database_urls, "SELECT guesses FROM guess_counts ORDER BY 1")] == [
        0,
        23,
    ]


async def test_the_clock_rings_for_each_task(database: Database, database_urls: DatabaseUrls) -> None:
    async with database.as_system() as tx:
        await tx.enqueue(DeliverMail(new_id()))
    await change(database_urls, "UPDATE outbox SET done_at = now() - interval '8 days'")
    await change(database_urls, _OLD_GUESS)
    by_name = {cron.name: cron for cron in crons(database)}
    assert by_name["create_payment_partitions"].run_at_startup
    await by_name["purge_done_jobs"].coroutine({})
    assert await rows(database_urls, "SELECT id FROM outbox") == []
    await by_name["purge_guess_counts"].coroutine({})
    assert await rows(database_urls, "SELECT account FROM guess_counts") == []
