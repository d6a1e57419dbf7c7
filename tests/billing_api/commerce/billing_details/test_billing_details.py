"""Billing details: checked by country, stored, and shown at Stripe, whatever happens in between."""

from typing import Any, get_args

import httpx
import pytest
from sqlalchemy import select

from billing_api.commerce.billing_details.customer_mirror import CustomerMirror
from billing_api.commerce.billing_details.places import COUNTRIES, TAX_ID_TYPES, canonical_tax_id, tax_id_fault
from billing_api.commerce.billing_details.schemas import TaxIdType
from billing_api.gateways.stripe.client import StripeGateway
from billing_api.gateways.stripe.customer_details import StripeCustomerWriter
from core.jobs import UpdateStripeCustomer
from db.models.messaging import OutboxRow
from db.unit_of_work import Database
from tests.billing_api.conftest import Buying
from tests.support.buyer import Buyer
from tests.support.people import Desk, Headers

pytestmark = pytest.mark.usefixtures("on_sale")

PATH = "/api/v1/me/billing-details"
WIEN = {"line1": "Hauptstr. 1", "city": "Wien", "postal_code": "1010", "country": "AT"}
WHOLE: dict[str, Any] = {
    "name": "Ada Lovelace",
    "company": "Analytical Engines Ltd",
    "address": WIEN,
    "tax_ids": [{"type": "eu_vat", "value": "atu 1234.5678"}],
    "email": "books@example.com",
}


async def put(client: httpx.AsyncClient, me: Headers, **changes: Any) -> httpx.Response:
    return await client.put(PATH, json={**WHOLE, **changes}, headers=me)


async def carried(database: Database, stripe: StripeGateway, buyer: Buyer) -> dict[str, Any]:
    """The customer at Stripe, after the job was performed."""
    await CustomerMirror(database, StripeCustomerWriter(stripe)).perform(UpdateStripeCustomer(buyer.user_id))
    return await buyer.ask_stripe("GET", f"customers/{buyer.customer}?expand[]=tax_ids")


async def test_until_they_are_given_they_are_the_accounts_own(client: httpx.AsyncClient, desk: Desk) -> None:
    me = desk.signed_in(await desk.a_user(full_name="Ada Lovelace"))
    body = (await client.get(PATH, headers=me)).json()
    assert body == {"name": "Ada Lovelace", "company": None, "address": None, "tax_ids": [], "email": None}


async def test_they_are_stored_and_shown_at_stripe(buyer: Buying, database: Database, stripe: StripeGateway) -> None:
    one = await buyer("Starter")
    given = await put(one.client, one.me)
    assert given.status_code == 200, given.text
    assert given.json()["tax_ids"] == [{"type": "eu_vat", "value": "ATU12345678"}]
    assert (await one.client.get(PATH, headers=one.me)).json() == given.json()
    async with database.as_system() as tx:
        jobs = [row["type"] for row in await tx.session.scalars(select(OutboxRow.job))]
    assert jobs.count("update_stripe_customer") == 2  # the first when the purchase made the customer
    shown = await carried(database, stripe, one)
    assert (shown["name"], shown["email"]) == ("Analytical Engines Ltd", "books@example.com")
    assert (shown["address"]["city"], shown["address"]["country"]) == ("Wien", "AT")
    assert [tax_id["value"] for tax_id in shown["tax_ids"]["data"]] == ["ATU12345678"]


async def test_those_given_before_the_first_purchase_are_carried_to_its_customer(
    client: httpx.AsyncClient, desk: Desk, database: Database
) -> None:
    me = desk.signed_in(await desk.a_user())
    await put(client, me)
    plans = (await client.get("/api/v1/plans")).json()["items"]
    order = {"plan_id": plans[0]["id"], "interval": "month"}
    for _ in range(2):
        assert (await client.post("/api/v1/checkout/sessions", json=order, headers=me)).status_code == 201
    async with database.as_system() as tx:
        jobs = [row["type"] for row in await tx.session.scalars(select(OutboxRow.job))]
    assert jobs.count("update_stripe_customer") == 2  # when they were given, and when there was a customer


async def test_what_is_left_out_is_removed_there_too(buyer: Buying, database: Database, stripe: StripeGateway) -> None:
    one = await buyer("Starter")
    await put(one.client, one.me)
    await carried(database, stripe, one)
    await one.client.put(PATH, json={"name": "Ada"}, headers=one.me)
    shown = await carried(database, stripe, one)
    assert (shown["name"], shown["email"]) == ("Ada", f"{one.user_id.hex}@example.com")
    assert (shown["address"], shown["tax_ids"]["data"]) == (None, [])
    assert await carried(database, stripe, one) == shown


async def test_nobody_is_asked_where_stripe_has_no_customer(
    client: httpx.AsyncClient, desk: Desk, database: Database, stripe: StripeGateway
) -> None:
    user_id = await desk.a_user()
    assert (await put(client, desk.signed_in(user_id))).status_code == 200
    await CustomerMirror(database, StripeCustomerWriter(stripe)).perform(UpdateStripeCustomer(user_id))


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"address": {**WIEN, "country": "XX"}}, ["address.country"]),
        ({"address": {**WIEN, "country": "at"}}, ["address.country"]),
        ({"address": {**WIEN, "postal_code": "10100"}}, ["address.postal_code"]),
        ({"address": {**WIEN, "country": "US"}, "tax_ids": []}, ["address.state", "address.postal_code"]),
        ({"address": None}, ["address"]),
        ({"tax_ids": [{"type": "eu_vat", "value": "12345678"}]}, ["tax_ids[0].value"]),
        ({"tax_ids": [{"type": "us_ein", "value": "12-3456789"}]}, ["tax_ids[0].value"]),
        ({"tax_ids": [WHOLE["tax_ids"][0], WHOLE["tax_ids"][0]]}, ["tax_ids[1].value"]),
        ({"tax_ids": [{"type": "passport", "value": "1"}]}, ["tax_ids[0].type"]),
        ({"email": "not an address"}, ["email"]),
        ({"name": ""}, ["name"]),
        ({"vat": "ATU12345678"}, ["vat"]),
    ],
)
async def test_what_a_country_does_not_know_is_refused_by_name(
    client: httpx.AsyncClient, desk: Desk, changes: dict[str, Any], fields: list[str]
) -> None:
    me = desk.signed_in(await desk.a_user())
    refused = await put(client, me, **changes)
    assert refused.status_code == 400, refused.text
    assert [error["field"] for error in refused.json()["errors"]] == fields
    assert (await client.get(PATH, headers=me)).json()["address"] is None


@pytest.mark.parametrize(
    ("country", "kind", "value"),
    [
        ("DE", "eu_vat", "DE 123 456 789"),
        ("DE", "eu_vat", "fr83404833048"),  # registered abroad
        ("GB", "gb_vat", "GB123456789"),
        ("CH", "ch_vat", "CHE-123.456.789 MWST"),
        ("NO", "no_vat", "123 456 789 MVA"),
        ("US", "us_ein", "12-3456789"),
        ("AU", "au_abn", "51 824 753 556"),
        ("JP", "jp_cn", "1234567890123"),
        ("IN", "in_gst", "12ABCDE3456FGZH"),
        ("CA", "ca_bn", "123456789"),
        ("NZ", "nz_gst", "123456789"),
    ],
)
def test_a_number_may_be_written_as_its_office_writes_it(country: str, kind: str, value: str) -> None:
    assert tax_id_fault(country, kind, canonical_tax_id(kind, value)) is None


def test_the_wire_names_every_kind_that_is_known() -> None:
    assert set(TAX_ID_TYPES) == set(get_args(TaxIdType))
    assert len(COUNTRIES) == 249
