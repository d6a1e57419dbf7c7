"""Object-level authorization: every documented route with an id in its path is called with another user's id.

A path with an id that this walk does not know fails the test, so a new kind of object must be added here first. At the
end the owner makes the same calls and finds the objects: a 404 alone would prove nothing.
"""

import re
from typing import Final
from uuid import UUID

import httpx
import pytest
from schemathesis import GenerationMode

from billing_api.access.permissions import Scope
from db.models.identity import Role
from tests.billing_api.conftest import Client
from tests.billing_api.walks.conftest import Operations
from tests.support.belongings import Belongings, belongings, owned_rows
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls
from tests.support.walking import AnyCase, AnyOperation, examples, send

EXAMPLES: Final = 4
BOB: Final = "Bob Whose Name Is Nowhere Else"
ADMINS_ALONE: Final = {
    "GET /api/v1/admin/audit",
    "GET /api/v1/admin/platform-keys",
    "GET /api/v1/admin/service-accounts",
}
READS_BY_POST: Final = {
    "POST /api/v1/admin/licenses/find-by-key",
    "POST /api/v1/admin/licenses/{license_id}/explain",
}
SUPPORT_WRITES: Final = ("/api/v1/admin/users/{user_id}/notes",)
"""Below these paths support writes as well; their own tests show who may change what."""
_PARAMETER: Final = re.compile(r"\{(\w+)\}")


@pytest.fixture
async def bob(client: Client, desk: Desk, database_urls: DatabaseUrls) -> Belongings:
    return await belongings(client, desk, database_urls, BOB)


def is_for_staff(operation: AnyOperation) -> bool:
    return operation.path.startswith("/api/v1/admin/")


def ids_in(operation: AnyOperation, owner: Belongings) -> dict[str, str]:
    """For each parameter of the path, the owner's id at that place."""
    found = {}
    for match in _PARAMETER.finditer(operation.path):
        collection = operation.path[: match.start()].removeprefix("/api/v1/").removeprefix("admin/").strip("/")
        assert collection in owner.ids, f"{operation.label}: nobody owns anything in {collection!r} (belongings.py)"
        found[match[1]] = owner.ids[collection]
    return found


def calls(operation: AnyOperation, ids: dict[str, str]) -> list[AnyCase]:
    """Bodies that fit the document: a body's error must not hide the check of the owner."""
    return examples(
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE, path_parameters=ids or None), EXAMPLES
    )


async def a_program(client: Client, owner: Headers) -> Headers:
    """An OAuth client with every scope."""
    wanted = {"name": "reads all", "scopes": list(Scope)}
    made = (await client.post("/api/v1/me/oauth-clients", json=wanted, headers=owner)).json()
    asked = {"grant_type": "client_credentials", "scope": " ".join(Scope)}
    credentials = (made["client_id"], made["client_secret"])
    granted = await client.post("/api/v1/oauth/token", data=asked, auth=credentials)
    return {"Authorization": f"Bearer {granted.json()['access_token']}"}


async def names_of(urls: DatabaseUrls, owner: Belongings) -> set[str]:
    """Texts that no other user's answer may hold: each id of the owner, the address and the name."""
    mine = [row for found in (await owned_rows(urls, owner.user_id)).values() for row in found]
    ids = {str(value) for row in mine for name, value in row.items() if isinstance(value, UUID) and "plan" not in name}
    return ids | {f"{owner.user_id.hex}@example.com", BOB}


def reveals(response: httpx.Response, names: set[str]) -> set[str]:
    return {name for name in names if name in response.text}


@pytest.mark.timeout(600)
async def test_another_customers_ids_open_nothing(
    client: Client, desk: Desk, database_urls: DatabaseUrls, operations: Operations, bob: Belongings
) -> None:
    ada = await desk.a_customer()
    intruders = {"a customer": ada, "a program": await a_program(client, ada)}
    intruders["support"] = await desk.staff(Role.SUPPORT)
    before, names = await owned_rows(database_urls, bob.user_id), await names_of(database_urls, bob)
    assert all(before.values()), "the owner has one of everything"
    wrong = []
    for operation in operations:
        ids = ids_in(operation, bob)
        if is_for_staff(operation) or not (ids or operation.method == "get"):
            continue
        cases = calls(operation, ids)
        for who, headers in intruders.items():
            answers = [await send(client, case, headers) for case in cases]
            statuses = {answer.status_code for answer in answers}
            closed = {403} if who == "a program" else {404}
            if ids and not (statuses & {404, *closed} and statuses <= {400, 404, *closed}):
                wrong.append(f"{who}: {operation.label} was answered {statuses}")
            wrong += [f"{who}: {operation.label} told {told}" for a in answers if (told := reveals(a, names))]
    assert not wrong, "\n".join(wrong)
    assert await owned_rows(database_urls, bob.user_id) == before


@pytest.mark.timeout(600)
async def test_support_looks_and_an_administrator_changes(
    client: Client, desk: Desk, database_urls: DatabaseUrls, operations: Operations, bob: Belongings, on_sale: None
) -> None:
    people = {role: await desk.staff(role) for role in (Role.SUPPORT, Role.CUSTOMER)}
    before = await owned_rows(database_urls, bob.user_id)
    wrong = []
    for operation in filter(is_for_staff, operations):
        looks = (operation.method == "get" or operation.label in READS_BY_POST) and operation.label not in ADMINS_ALONE
        for case in calls(operation, ids_in(operation, bob)):
            for role, headers in people.items():
                if role is Role.SUPPORT and not looks and operation.path.startswith(SUPPORT_WRITES):
                    continue
                status = (await send(client, case, headers)).status_code
                allowed = {200, 400, 404, 422} if looks and role is Role.SUPPORT else {403}
                if status not in allowed:
                    wrong.append(f"{role}: {operation.label} was answered {status}")
    assert not wrong, "\n".join(wrong)
    assert await owned_rows(database_urls, bob.user_id) == before


EXCUSED: Final = {
    "POST /api/v1/subscriptions/{subscription_id}/cancel": "Stripe knows no such subscription, only our row does",
    "POST /api/v1/admin/subscriptions/{subscription_id}/cancel": "likewise",
    "POST /api/v1/subscriptions/{subscription_id}/pay": "likewise",
    "POST /api/v1/subscriptions/{subscription_id}/preview-cancel": "likewise",
    "POST /api/v1/subscriptions/{subscription_id}/change": "as above",
    "POST /api/v1/subscriptions/{subscription_id}/preview-change": "as above",
    "POST /api/v1/subscriptions/{subscription_id}/resume": "as above",
    "POST /api/v1/admin/invoices/{invoice_id}/mark-uncollectible": "Stripe knows no such invoice, only our row does",
    "POST /api/v1/admin/invoices/{invoice_id}/void": "as above",
    "PATCH /api/v1/admin/promotion-codes/{promotion_code_id}": "Stripe knows no such code",
    "DELETE /api/v1/admin/coupons/{coupon_id}": "Stripe knows no such coupon",
    "GET /api/v1/invoices/{invoice_id}/pdf": "Stripe has no PDF of what only our row tells of",
    "DELETE /api/v1/payment-methods/{method_id}": "Stripe knows no such card",
    "GET /api/v1/payment-methods/setup/{setup_id}": "as above",
    "POST /api/v1/payment-methods/{method_id}/default": "as above",
    "POST /api/v1/admin/payments/{payment_id}/refund": "our row was never paid at Stripe",
    "PATCH /api/v1/admin/users/{user_id}/notes/{note_id}": "what is made up names another version, or changes nothing",
    "POST /api/v1/admin/licenses/{license_id}/limits": "what is made up to fit changes no limit, which is refused",
    "PATCH /api/v1/admin/licenses/{license_id}": "what is made up to fit may change nothing, which is refused",
}
"""Not found, or refused, for every caller of this walk: tests of these routes show that their owner may call them."""


def in_an_order_that_leaves_him_there(operation: AnyOperation) -> tuple[bool, bool, bool]:
    """The owner's own calls first, then those of staff; what ends something, or makes the owner staff, comes last."""
    ends = operation.method == "delete" or operation.path.endswith(("/suspend", "/role"))
    return is_for_staff(operation), ends, operation.path.endswith("/role")


@pytest.mark.timeout(600)
async def test_the_same_calls_find_something_for_who_may_make_them(
    client: Client, desk: Desk, operations: Operations, bob: Belongings, on_sale: None
) -> None:
    admin = await desk.staff()
    blind = []
    for operation in sorted(operations, key=in_an_order_that_leaves_him_there):
        ids = ids_in(operation, bob)
        if ids and operation.label not in EXCUSED:
            headers = admin if is_for_staff(operation) else bob.headers
            statuses = {(await send(client, case, headers)).status_code for case in calls(operation, ids)}
            if statuses & {401, 403, 500} or statuses <= {400, 404}:
                blind.append(f"{operation.label} was answered {statuses}")
    assert not blind, "\n".join(blind)
