"""Lists over HTTP: a cursor holds for its path and its filters, and every list offers one."""

from typing import Any

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from db.models.identity import Role
from db.paging import Page
from tests.billing_api.conftest import Client
from tests.support.people import Desk, Headers

USERS = "/api/v1/admin/users"


async def read(client: Client, headers: Headers, path: str = USERS, **query: Any) -> dict[str, Any]:
    answer = await client.get(path, params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def test_staff_walk_through_users_while_others_register_and_leave(client: Client, desk: Desk) -> None:
    admin = await desk.staff(Role.SUPPORT)
    there = [str(await desk.a_user()) for _ in range(5)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await read(client, admin, role="customer", limit=2, **cursor)
        seen += [item["id"] for item in page["items"]]
        await desk.a_user()
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == there[::-1]
    assert page["total"] == 7


async def test_filters_may_come_in_any_order_and_spelling_of_the_path(client: Client, desk: Desk) -> None:
    user_id = await desk.a_user()
    me, issued = desk.signed_in(user_id), (await desk.a_license(user_id)).license
    key = {"name": "the panel", "permissions": ["validate"]}
    path = f"/api/v1/licenses/{issued.id}/api-keys"
    for _ in range(2):
        assert (await client.post(path, json=key, headers=me)).status_code == 201
    first = await read(client, me, path, limit=1)
    again = await read(client, me, path.replace(str(issued.id), issued.id.hex.upper()), cursor=first["next_cursor"])
    assert first["items"][0]["id"] != again["items"][0]["id"]
    admin = await desk.staff()
    start = await client.get(f"{USERS}?limit=1&role=customer&status=active&q=example", headers=admin)
    assert start.json()["next_cursor"] is None
    await desk.a_user()
    start = await client.get(f"{USERS}?limit=1&role=customer&status=active&q=example", headers=admin)
    cursor = start.json()["next_cursor"]
    ordered = await client.get(f"{USERS}?q=example&cursor={cursor}&status=active&role=customer", headers=admin)
    assert len(ordered.json()["items"]) == 1


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("cursor={}", "other filters"),
        ("cursor={}&role=support", "other filters"),
        ("cursor={}&role=customer&status=active", "other filters"),
        ("cursor={}&role=customer&offset=1", "send it without offset"),
        ("cursor=&role=customer", "is no cursor of this API"),
        ("cursor=1&role=customer", "is no cursor of this API"),
        ("cursor=" + "A" * 2001, "at most 2000"),
        ("cursor={}&cursor={}&role=customer", "more than once"),
    ],
)
async def test_a_cursor_that_does_not_fit_is_refused(client: Client, desk: Desk, query: str, told: str) -> None:
    admin = await desk.staff()
    for _ in range(2):
        await desk.a_user()
    cursor = (await read(client, admin, role="customer", limit=1))["next_cursor"]
    answer = await client.get(f"{USERS}?{query.replace('{}', cursor)}", headers=admin)
    assert answer.status_code == 400
    (fault,) = answer.json()["errors"]
    assert fault["field"] == "cursor"
    assert told in fault["detail"]


async def test_a_cursor_of_another_list_is_refused(client: Client, desk: Desk) -> None:
    user_id = await desk.a_user()
    me = desk.signed_in(user_id)
    for _ in range(2):
        await desk.a_license(user_id)
    cursor = (await read(client, me, "/api/v1/licenses", limit=1))["next_cursor"]
    answer = await client.get(f"/api/v1/subscriptions?cursor={cursor}", headers=me)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")


def pages(app: Litestar) -> dict[str, HTTPRouteHandler]:
    found = {}
    for route in app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            kind = handler.parsed_fn_signature.return_type
            if Page in {kind.origin, *(inner.origin for inner in kind.inner_types)}:
                found[route.path] = handler
    return found


async def test_every_list_that_goes_on_offers_a_cursor(app: Litestar) -> None:
    lists = pages(app)
    assert len(lists) > 12
    without = {path for path, handler in lists.items() if "paging" not in handler.parsed_fn_signature.parameters}
    assert without == {"/api/v1/plans"}, "the plans on sale are one page"


async def test_the_document_tells_of_the_cursor(client: Client) -> None:
    document = (await client.get("/schema/openapi.json")).json()
    told = {one["name"]: one for one in document["paths"][USERS]["get"]["parameters"]}
    assert {"limit", "offset", "cursor", "q", "role"} <= told.keys()
    assert told["limit"]["schema"]["maximum"] == 100
    assert told["cursor"]["required"] is False
    assert all(told[name]["description"] for name in ("limit", "offset", "cursor"))
