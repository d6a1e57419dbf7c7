"""Signed-in customers of the benchmark, with the rows that their pages show, in the tables that both contenders read.

Redis is believed for two seconds about a session. So there should be more customers than requests in two seconds:
then each request asks PostgreSQL, as it does for a customer who reads a page before opening the next one.

No session has to be noted as used, which the API does once a minute for each: in a short run the route that happens to
come first would pay for it. The yardstick notes nothing either.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg  # type: ignore[import-untyped]  # ships no types
import jwt
import msgspec
from redis.asyncio import Redis

from bench.ledger import Ledger
from billing_api.access.permissions import Principal
from billing_api.access.tokens import TokenIssuer
from core.clock import utc_now
from core.hotstore.client import HotStoreClient
from core.hotstore.keys import BUCKETS
from core.hotstore.writer import Writer
from core.licensing.plan import RESOURCES
from core.settings import api_settings, process_environment
from db.models.identity import Role
from loadtest.seed_files import SeedFiles

_INVOICES: Final = 24
_ROWS: Final = (
    """
    INSERT INTO sessions (id, user_id, refresh_hash, rotated_at, authenticated_at, expires_at, address, last_seen_at)
    SELECT gen_random_uuid(), id, sha256(uuid_send(gen_random_uuid())), now(), now(), now() + interval '30 days',
        '127.0.0.1', now() + interval '1 day'
    FROM users
    """,
    f"""
    INSERT INTO invoices (id, user_id, stripe_invoice_id, number, amount_due, amount_paid, currency, status,
        invoice_pdf_url, created_at, due_date, paid_at)
    SELECT gen_random_uuid(), id, 'in_' || gen_random_uuid(), 'NP-' || month, 1900, 1900, 'usd', 'paid',
        'https://pay.stripe.example/invoice/' || gen_random_uuid() || '/pdf', at, at, at
    FROM users, generate_series(1, {_INVOICES}) AS month, LATERAL (SELECT now() - month * interval '30 days' AS at) AS a
    """,  # noqa: S608  # a number of ours
    """
    INSERT INTO license_usage (license_id, user_id, resource, used, events, version)
    SELECT DISTINCT ON (user_id, resource) id, user_id, resource, 1, 1, 1
    FROM licenses, unnest($1::text[]) AS resource ORDER BY user_id, resource, id
    """,
    """
    INSERT INTO subscriptions (id, user_id, license_id, stripe_subscription_id, plan_id, interval, status,
        current_period_start, current_period_end, cancel_at_period_end, plan_paid_until)
    SELECT DISTINCT ON (user_id) gen_random_uuid(), user_id, id, 'sub_' || id, plan_id, 'month', 'active',
        now(), now() + interval '30 days', false, now() + interval '30 days'
    FROM licenses ORDER BY user_id, id
    """,
    """
    INSERT INTO license_subscriptions (subscription_id, license_id, user_id, position)
    SELECT id, license_id, user_id, 0 FROM subscriptions
    """,
    "UPDATE users SET stripe_customer_id = 'cus_' || id",
    "UPDATE plans SET stripe_price_id_monthly = 'price_m_' || id, stripe_price_id_yearly = 'price_y_' || id",
    "VACUUM (ANALYZE) users, sessions, licenses, license_usage, invoices, subscriptions, plans",
)
_PEOPLE: Final = """
    SELECT DISTINCT ON (users.id) users.id, sessions.id, licenses.id, users.email, licenses.plan_id
    FROM users JOIN sessions ON sessions.user_id = users.id JOIN licenses ON licenses.user_id = users.id
    ORDER BY users.id, licenses.id
    """


class Person(NamedTuple):
    user_id: UUID
    session_id: UUID
    license_id: UUID
    """The license whose usage is recorded."""
    email: str
    plan_id: UUID


class Crowd(NamedTuple):
    """All customers. Tokens are issued when they are asked for, because they live for a quarter of an hour."""

    people: Sequence[Person]
    password: str
    yard_secret: str
    env: Mapping[str, str]
    """Settings of both contenders that they share."""

    def our_tokens(self) -> list[str]:
        tokens = TokenIssuer(api_settings(process_environment() | dict(self.env)).jwt_keys, utc_now)
        now = utc_now()
        return [tokens.issue(Principal(one.user_id, Role.CUSTOMER, one.session_id, now)) for one in self.people]

    def yard_tokens(self) -> list[str]:
        ends = utc_now() + timedelta(minutes=15)
        claims = [{"sub": str(one.user_id), "sid": str(one.session_id), "exp": ends} for one in self.people]
        return [jwt.encode(each, self.yard_secret, "HS256") for each in claims]


async def gather(books: Ledger, env: Mapping[str, str]) -> Crowd:
    """Writes the rows. Each seeded user has licenses by now."""
    connection = await asyncpg.connect(books.owner_url)
    try:
        for statement in _ROWS:
            await connection.execute(statement, *([list(RESOURCES)] if "$1" in statement else []))
        people = [Person(*row) for row in await connection.fetch(_PEOPLE)]
    finally:
        await connection.close()
    async with Redis.from_url(books.env["REDIS_URL"]) as redis:
        await _mark_loaded(redis)
        async with redis.pipeline(transaction=False) as pipe:
            for one in people:
                stored = msgspec.json.encode({"id": one.user_id, "role": "customer"})
                pipe.set(f"yard:session:{one.session_id}", stored)
            await pipe.execute()
    password = SeedFiles(books.folder).read_customers()[-1].password
    return Crowd(people, password, secrets.token_urlsafe(32), env)


async def _mark_loaded(redis: Redis) -> None:
    """As workers do after a rebuild. Otherwise the API cannot tell whether anything is reserved."""
    writer = Writer(HotStoreClient(redis))
    for bucket, token in (await writer.begin_rebuild(range(BUCKETS), holds_lost=False)).items():
        await writer.mark_loaded(bucket, token)
