"""Billing settings: the policy is replaced as a whole, and only by one whose parts fit together."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from db.models.identity import Role
from tests.billing_api.conftest import Client
from tests.support.databases import rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls

PATH = "/api/v1/admin/settings/billing"
DEFAULT: dict[str, Any] = {
    "grace_days": 7,
    "dunning": [
        {"day": 0, "mail": "payment_failed"},
        {"day": 3, "mail": "payment_failed_again"},
        {"day": 6, "mail": "suspension_tomorrow"},
        {"day": 7, "do": "suspend"},
        {"day": 30, "do": "end"},
    ],
    "refund_ends_license": "full",
    "dispute": "suspend",
    "cancel_now_credit": False,
    "tax": False,
    "renewal_notice_days": {"year": 30},
}
SUSPEND, END = {"day": 7, "do": "suspend"}, {"day": 30, "do": "end"}
MAIL = {"day": 3, "mail": "payment_failed"}


async def test_the_default_is_in_force_until_it_is_replaced(
    client: Client, desk: Desk, database_urls: DatabaseUrls
) -> None:
    admin = await desk.staff()
    assert (await client.get(PATH, headers=admin)).json() == DEFAULT
    other = DEFAULT | {"refund_ends_license": "never", "dispute": "keep", "tax": True}
    for _ in range(2):  # the same again is no change
        assert (await client.put(PATH, json=other, headers=admin)).json() == other
    assert (await client.get(PATH, headers=await desk.staff(Role.SUPPORT))).json() == other
    [line] = await rows(database_urls, "SELECT action, target_id, detail FROM audit_log")
    assert (line["action"], line["target_id"]) == ("billing_settings.changed", "billing")
    assert (line["detail"]["before"], line["detail"]["after"]) == (DEFAULT, other)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dunning": [SUSPEND, MAIL]}, "dunning[1].day"),
        ({"dunning": [MAIL, MAIL, SUSPEND]}, "dunning[1].day"),
        ({"dunning": [SUSPEND, END, {"day": 40, "do": "end"}]}, "dunning"),
        ({"dunning": [SUSPEND, END, {"day": 31, "mail": "payment_failed"}]}, "dunning[2]"),
        ({"dunning": [{"day": 6, "do": "end"}, SUSPEND]}, "dunning[1]"),
        ({"dunning": [MAIL, END]}, "dunning"),
        ({"dunning": [SUSPEND, {"day": 8, "do": "suspend"}]}, "dunning"),
        ({"dunning": []}, "dunning"),
        ({"dunning": [{"day": 7}, SUSPEND]}, "dunning[0]"),
        ({"dunning": [{"day": 7, "do": "suspend", "mail": "payment_failed"}]}, "dunning[0]"),
        ({"grace_days": 8}, "grace_days"),
    ],
)
async def test_parts_that_do_not_fit_together_are_told_by_their_fields(
    client: Client, desk: Desk, changes: dict[str, Any], field: str
) -> None:
    admin = await desk.staff()
    refused = await client.put(PATH, json=DEFAULT | changes, headers=admin)
    assert (refused.status_code, refused.json()["code"]) == (422, "unprocessable")
    assert field in {error["field"] for error in refused.json()["errors"]}
    assert (await client.get(PATH, headers=admin)).json() == DEFAULT


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body | {"color": "red"},
        lambda body: {name: value for name, value in body.items() if name != "tax"},
        lambda body: body | {"grace_days": -1},
        lambda body: body | {"grace_days": 7.5},
        lambda body: body | {"grace_days": "7"},
        lambda body: body | {"dispute": "forgive"},
        lambda body: body | {"dunning": [{"day": 1, "mail": "sing"}]},
        lambda body: body | {"renewal_notice_days": {"week": 1}},
        lambda body: body | {"renewal_notice_days": {"year": 0}},
        lambda _body: [],
    ],
)
async def test_what_is_malformed_changes_nothing(
    client: Client, desk: Desk, spoil: Callable[[dict[str, Any]], Any]
) -> None:
    admin = await desk.staff()
    assert (await client.put(PATH, json=spoil(DEFAULT), headers=admin)).status_code == 400
    assert (await client.get(PATH, headers=admin)).json() == DEFAULT


async def test_two_changes_at_once_are_both_in_the_trail(
    client: Client, desk: Desk, database_urls: DatabaseUrls
) -> None:
    admin = await desk.staff()
    wanted = [DEFAULT | {"dispute": one} for one in ("keep", "end")]
    await asyncio.gather(*(client.put(PATH, json=body, headers=admin) for body in wanted))
    lines = await rows(database_urls, "SELECT detail FROM audit_log ORDER BY id")
    first, second = (line["detail"] for line in lines)
    assert (first["before"], second["before"]) == (DEFAULT, first["after"])
    assert (await client.get(PATH, headers=admin)).json() == second["after"]
