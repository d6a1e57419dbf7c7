"""Undeclared input is refused and named: query parameters, and bodies where none is read."""

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

import msgspec
import pytest
from litestar import Litestar

from billing_api.web import undeclared
from billing_api.web.parameters import STORABLE
from billing_api.web.undeclared import DeclaredInput
from core.field_errors import FORM
from db.models.licensing import LicenseType
from tests.billing_api.conftest import Client
from tests.billing_api.server.test_app import concrete, handlers
from tests.support.people import Desk

EXEMPT = "/api/v1/webhooks/"


def fields_and_codes(problem: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["field"], one["code"]) for one in problem["errors"]}


def structs(kind: msgspec.inspect.Type) -> Iterator[msgspec.inspect.StructType]:
    """All structs within a type."""
    match kind:
        case msgspec.inspect.StructType():
            yield kind
            inner: tuple[msgspec.inspect.Type, ...] = tuple(field.type for field in kind.fields)
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType() | msgspec.inspect.SetType():
            inner = (kind.item_type,)
        case msgspec.inspect.UnionType():
            inner = kind.types
        case _:
            inner = ()
    for one in inner:
        yield from structs(one)


def patterns_without_words(kind: msgspec.inspect.Type, form: bool = False) -> Iterator[str]:
    """NUL characters are told by the rule of every text."""
    match kind:
        case msgspec.inspect.Metadata():
            yield from patterns_without_words(kind.type, form or FORM in (kind.extra or {}))
        case msgspec.inspect.StrType():
            if kind.pattern not in {None, STORABLE} and not form:
                yield str(kind.pattern)
        case msgspec.inspect.UnionType():
            yield from chain.from_iterable(patterns_without_words(one, form) for one in kind.types)
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType():
            yield from patterns_without_words(kind.item_type)
        case _:
            pass


def test_every_pattern_has_its_words(app: Litestar) -> None:
    """A person is told "six digits", not a regular expression."""
    seen, silent = 0, []
    for path, handler in handlers(app):
        declared = handler.opt.get("declared")
        kinds = [] if declared is None else [msgspec.inspect.type_info(one) for one in declared.names.values()]
        if handler.parsed_data_field is not None:
            body = msgspec.inspect.type_info(handler.parsed_data_field.raw)
            kinds += [field.type for struct in structs(body) for field in struct.fields]
        for kind in kinds:
            seen += 1
            silent += [(path, pattern) for pattern in patterns_without_words(kind)]
    assert (silent, seen > 100) == ([], True)


async def test_every_route_refuses_a_query_name_that_it_does_not_know(
    app: Litestar, client: Client, desk: Desk
) -> None:
    admin = await desk.staff()
    seen = 0
    for path, handler in handlers(app):
        if not path.startswith("/api/v1/") or path.startswith(EXEMPT):
            continue
        for method in handler.http_methods:
            answer = await client.request(method, f"{concrete(path)}?nonsense=1", headers=admin)
            if answer.status_code == 403:  # a recent sign-in is asked for before
                continue
            assert answer.status_code == 400, (method, path, answer.status_code, answer.text)
            if path.endswith("/oauth/token"):  # its clients know the errors of RFC 6749
                assert answer.json()["error"] == "invalid_request"
                assert "nonsense" in answer.json()["error_description"]
                continue
            assert ("nonsense", "unknown") in fields_and_codes(answer.json()), (method, path)
            assert "nonsense" in answer.json()["detail"]
            seen += 1
    assert seen > 60


async def test_every_route_that_reads_no_body_refuses_one(app: Litestar, client: Client, desk: Desk) -> None:
    json_said = {"Content-Type": "application/json"}
    staff = await desk.staff() | json_said
    seen = 0
    for path, handler in handlers(app):
        reads = handler.parsed_data_field is not None or handler.opt.get("reads_body")
        if reads or not path.startswith("/api/v1/") or path.startswith(EXEMPT):
            continue
        admin = json_said if path.startswith("/api/v1/auth/") else staff  # to sign out would end it
        needed = "&".join(f"{name}=something" for name in sorted(handler.opt["declared"].required))
        for method in handler.http_methods:
            for body in (b'{"at":"now"}', b"[]", b"x", b"{", b" " * 200):
                answer = await client.request(method, f"{concrete(path)}?{needed}", content=body, headers=admin)
                if answer.status_code == 403:
                    continue
                assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input"), (method, path, body)
                told = fields_and_codes(answer.json())
                assert {fault for fault in told if fault[1] != "missing"} == {("body", "unknown")}, (method, path)
                seen += 1
            for body in (b"", b"{}", b" { } \n"):
                answer = await client.request(method, f"{concrete(path)}?{needed}", content=body, headers=admin)
                assert answer.status_code != 400 or "body" not in answer.json()["detail"], (method, path, body)
    assert seen > 100


def test_the_body_of_every_route_forbids_unknown_fields(app: Litestar) -> None:
    bodies = [
        handler.parsed_data_field.annotation
        for path, handler in handlers(app)
        if path.startswith("/api/v1/") and handler.parsed_data_field is not None
    ]
    kinds = list(chain.from_iterable(structs(msgspec.inspect.type_info(body)) for body in bodies))
    assert len(kinds) > 20
    assert {kind.cls.__name__ for kind in kinds if not kind.forbid_unknown_fields} == set()


async def test_a_search_with_an_unknown_condition_lists_nobody(client: Client, desk: Desk) -> None:
    await desk.a_license(await desk.a_user(), LicenseType.STARTER)
    admin, whose = await desk.staff(), await desk.a_user()
    answer = await client.get(f"/api/v1/admin/licenses?user_id={whose}&status=active", headers=admin)
    assert answer.status_code == 400
    (fault,) = answer.json()["errors"]
    assert (fault["field"], fault["code"]) == ("user_id", "unknown")
    assert "status" in fault["params"]["known"]


async def test_all_faults_of_a_query_are_told_at_once(client: Client, desk: Desk) -> None:
    query = "limit=0&offset=x&status=gone&nonsense=1&email=a&email=b&=&Limit=5"
    answer = await client.get(f"/api/v1/admin/licenses?{query}", headers=await desk.staff())
    assert answer.status_code == 400
    assert fields_and_codes(answer.json()) == {
        ("nonsense", "unknown"),
        ("Limit", "unknown"),
        ("(a name that cannot be shown)", "unknown"),
        ("email", "repeated"),
        ("limit", "too_small"),
        ("offset", "wrong_type"),
        ("status", "not_one_of"),
    }


async def test_values_that_do_not_fit_are_told_at_once_and_in_words(client: Client, desk: Desk) -> None:
    answer = await client.get("/api/v1/admin/licenses?limit=1000&status=gone", headers=await desk.staff())
    assert answer.status_code == 400
    faults = {one["field"]: one for one in answer.json()["errors"]}
    assert faults["limit"]["params"] == {"max": 100}
    assert faults["limit"]["detail"] == "must be at most 100"
    assert "active" in faults["status"]["params"]["allowed"]


async def test_instants_are_told_together_with_the_rest(client: Client, desk: Desk) -> None:
    admin = await desk.staff()
    answer = await client.get("/api/v1/admin/audit?since=2026-02-30&until=x&limit=0", headers=admin)
    assert fields_and_codes(answer.json()) == {("since", "bad_format"), ("until", "bad_format"), ("limit", "too_small")}
    history = f"/api/v1/admin/licenses/{'0' * 32}/usage/history"
    answer = await client.get(f"{history}?resource=x&from=2026-03-10T00:00:00&to=x", headers=admin)
    assert fields_and_codes(answer.json()) == {("resource", "not_one_of"), ("from", "bad_format"), ("to", "bad_format")}


@pytest.mark.parametrize("query", ["status=null", "overage=null", "provisioning=NULL", "status=", "overage="])
async def test_a_filter_by_nothing_lists_nothing(client: Client, desk: Desk, query: str) -> None:
    answer = await client.get(f"/api/v1/admin/licenses?{query}", headers=await desk.staff())
    assert answer.status_code == 400, answer.text
    assert [one["field"] for one in answer.json()["errors"]] == [query.partition("=")[0]]


@pytest.mark.parametrize("name", ["$filter", "user:id", "@type"])
async def test_names_of_other_dialects_are_named(client: Client, desk: Desk, name: str) -> None:
    answer = await client.get(f"/api/v1/admin/licenses?{name}=1", headers=await desk.staff())
    assert fields_and_codes(answer.json()) == {(name, "unknown")}


def test_a_missing_name_is_told_by_its_name() -> None:
    declared = DeclaredInput({"q": str, "by": str}, frozenset({"q"}), frozenset(), reads_body=False)
    told = [(fault.field, fault.code) for fault in undeclared._query_faults(b"by=week&more=1", declared)]
    assert told == [("more", "unknown"), ("q", "missing")]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=5", 200),
        ("li%6Dit=5", 200),  # every spelling of a name is that name
        ("%6c%69mit=5", 200),
        ("", 200),
        ("&", 200),
        ("&&limit=5&", 200),
        ("limit=5&li%6Dit=5", 400),
        ("limit=5&limit=6", 400),
        ("limit[]=5", 400),
        ("LIMIT=5", 400),
        ("limit%00=5", 400),
        ("limi%74%20=5", 400),
        ("limit+=5", 400),
        ("limit;offset=5", 400),
        ("%FF=1", 400),
        ("=5", 400),
        ("=", 400),
        ("nonsense", 400),
        ("nonsense=", 400),
        ("&".join(f"n{number}=" for number in range(2000)), 400),
    ],
)
async def test_spellings_of_names(client: Client, desk: Desk, query: str, status: int) -> None:
    answer = await client.get(f"/api/v1/licenses?{query}", headers=await desk.a_customer())
    assert answer.status_code == status, answer.text
    assert len(answer.content) < 50_000


async def test_fields_of_a_body_are_told_all_at_once(client: Client, desk: Desk) -> None:
    body = {"email": 5, "plan": 7, "surprise": True}
    answer = await client.post("/api/v1/admin/licenses", json=body, headers=await desk.staff())
    assert answer.status_code == 400
    found = fields_and_codes(answer.json())
    assert {("email", "wrong_type"), ("surprise", "unknown")} <= found
    assert len(found) > 2


async def test_what_only_a_service_finds_is_told_by_its_field(client: Client, desk: Desk) -> None:
    order = {"email": "a@example.com", "plan": "starter", "expiry_date": "2020-01-01T00:00:00Z"}
    answer = await client.post("/api/v1/admin/licenses", json=order, headers=await desk.staff())
    assert fields_and_codes(answer.json()) == {("expiry_date", "invalid")}
    plan = (await client.get("/api/v1/plans")).json()["items"][0]["id"]
    checkout = {"plan_id": plan, "interval": "month", "currency": "eur"}
    answer = await client.post("/api/v1/checkout/sessions", json=checkout, headers=await desk.a_customer())
    assert fields_and_codes(answer.json()) == {("currency", "not_one_of")}


async def test_a_missing_field_is_told_by_its_own_name(client: Client) -> None:
    answer = await client.post("/api/v1/auth/login", json={"email": "a@example.com"})
    assert [(one["field"], one["code"]) for one in answer.json()["errors"]] == [("password", "missing")]


async def test_pages_of_mails_and_of_returns_take_whatever_mail_programs_add(client: Client) -> None:
    for path in ("/verify-email?token=x", "/reset-password?token=x", "/health/live?", "/schema/openapi.json?"):
        answer = await client.get(f"{path}&utm_source=mail")
        assert answer.status_code == 200, (path, answer.text)


async def test_a_stripe_event_may_have_a_query(client: Client) -> None:
    answer = await client.post("/api/v1/webhooks/stripe?from=stripe", content=json.dumps({"id": "evt_1"}))
    assert ("from", "unknown") not in fields_and_codes({"errors": [], **answer.json()})
