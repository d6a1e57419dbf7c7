"""Fixtures: one of everything that a customer can own, and of what staff look after."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

import httpx
from sqlalchemy import Table, insert

from db.models.all_tables import METADATA
from tests.support.databases import as_owner, rows
from tests.support.people import Desk, Headers
from tests.support.rows import STARTER_PLAN, a_row
from tests.support.servers import DatabaseUrls

OWNED: Final = [table for table in METADATA.sorted_tables if "user_id" in table.c]
_STAFFS: Final = ("webhook_events", "outbox", "reconciliation_runs")
_ISSUED: Final = frozenset({"licenses", "api_keys", "oauth_clients"})
"""Created by the application itself, because their secrets are sealed."""


class Belongings(NamedTuple):
    """`ids`: path of a collection below /api/v1 and /admin → the id of the user's object there."""

    user_id: UUID
    headers: Headers
    ids: Mapping[str, str]


async def belongings(client: httpx.AsyncClient, desk: Desk, urls: DatabaseUrls, full_name: str) -> Belongings:
    user_id = await desk.a_user(full_name=full_name)
    headers = desk.signed_in(user_id)
    license_ = (await desk.a_license(user_id)).license
    made: dict[str, Mapping[str, Any]] = {
        "plans": {"id": STARTER_PLAN},
        "licenses": {"id": license_.id},
        "users": {"id": user_id},
    }
    async with as_owner(urls) as owner:
        for table in METADATA.sorted_tables:
            if (table in OWNED and table.name not in _ISSUED) or table.name in _STAFFS:
                written = insert(table).values(_row(table, user_id, made)).returning(*table.primary_key)
                made[table.name] = dict((await owner.execute(written)).mappings().one())
    key: dict[str, Any] = {"name": "the panel", "permissions": ["validate"]}
    program: dict[str, Any] = {"name": "the books", "scopes": ["licenses:read"]}
    staffs: dict[str, Any] = {"name": f"export of {user_id}", "scopes": ["licenses:read"]}
    ids = {
        "users": str(user_id),
        "users/{user_id}/notes": str(made["customer_notes"]["id"]),
        "licenses": str(license_.id),
        "api-keys": (await _posted(client, f"licenses/{license_.id}/api-keys", key, headers))["api_key"]["id"],
        "platform-keys": (await _posted(client, "admin/platform-keys", key, await desk.staff()))["platform_key"]["id"],
        "service-accounts": (await _posted(client, "admin/service-accounts", staffs, await desk.staff()))[
            "service_account"
        ]["id"],
        "me/oauth-clients": (await _posted(client, "me/oauth-clients", program, headers))["client_id"],
        "me/sessions": str(made["sessions"]["id"]),
        "checkout/sessions": str(made["checkout_sessions"]["id"]),
        "subscriptions": str(made["subscriptions"]["id"]),
        "invoices": str(made["invoices"]["id"]),
        "payments": str(made["payments"]["id"]),
        "plans": str(STARTER_PLAN),
        "coupons": "c0upon",  # Stripe's alone, as the next ones
        "promotion-codes": "promo_1Q1yZ2eZvKYlo2C",
        "disputes": str(made["disputes"]["id"]),
        "payment-methods": "pm_1Q1yZ2eZvKYlo2C",  # Stripe's alone: nobody here has a row of it
        "payment-methods/setup": "seti_1Q1yZ2eZvKYlo2C",
        "webhook-events": str(made["webhook_events"]["id"]),
        "jobs": str(made["outbox"]["id"]),
        "reconciliation": str(made["reconciliation_runs"]["id"]),
    }
    return Belongings(user_id, headers, ids)


async def owned_rows(urls: DatabaseUrls, user_id: UUID) -> dict[str, list[dict[str, Any]]]:
    """Everything that is stored about a user, table by table."""
    found = {}
    for table in (*OWNED, METADATA.tables["users"]):
        column = "id" if table.name == "users" else "user_id"
        whole = f"SELECT * FROM {table.name} WHERE {column} = :user_id"
        found[table.name] = sorted(await rows(urls, whole, user_id=user_id), key=str)
    return found


def _row(table: Table, user_id: UUID, made: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    allowed: dict[str, dict[str, Any]] = {
        "outbox": {"lane": "partner"},
        "reconciliation_runs": {"cause": "command", "state": "agreed"},
        "billing_details": {"tax_ids": []},
        "customer_notes": {"version": 2},  # the former text is version 1
    }
    row = a_row(table, user_id, made) | allowed.get(table.name, {})
    return {name: value for name, value in row.items() if name in table.c and table.c[name].identity is None}


async def _posted(client: httpx.AsyncClient, path: str, body: Mapping[str, Any], headers: Headers) -> dict[str, Any]:
    answer = await client.post(f"/api/v1/{path}", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made
