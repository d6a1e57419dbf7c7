"""Invoices as their owner reads them: what they add up from, found by filters, as a PDF; and the balance."""

from datetime import datetime, timedelta

import pytest

from billing_api.gateways.stripe.client import StripeGateway
from billing_api.gateways.stripe.documents import StripeDocuments
from core.clock import rfc3339
from core.errors import NotFound
from tests.billing_api.conftest import Buying, Client
from tests.support.buyer import Buyer
from tests.support.databases import change
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls

pytestmark = pytest.mark.usefixtures("on_sale")

PATH = "/api/v1/invoices"
HOUR = 3600


def usd(amount: int) -> dict[str, object]:
    return {"amount": amount, "currency": "usd"}


async def mirrored(one: Buyer) -> list[dict[str, object]]:
    await one.told()
    items: list[dict[str, object]] = (await one.client.get(PATH, headers=one.me)).json()["items"]
    return items


async def test_an_invoice_tells_what_it_adds_up_from(client: Client, buyer: Buying) -> None:
    one = await buyer("Starter")
    [invoice] = (await client.get(PATH, headers=one.me)).json()["items"]
    assert invoice == (await client.get(f"{PATH}/{invoice['id']}", headers=one.me)).json()
    for name in ("subtotal", "total", "amount_due", "amount_paid"):
        assert invoice[name] == usd(2900), name
    for name in ("discount", "tax", "balance_used", "amount_remaining", "refunded"):
        assert invoice[name] == usd(0), name
    [line] = invoice["lines"]
    subscription = await one.subscription()
    period = {"start": subscription["current_period_start"], "end": subscription["current_period_end"]}
    assert (line["amount"], line["quantity"], line["period"]) == (usd(2900), 1, period)
    assert (invoice["payment_url"], invoice["credit_notes"]) == (None, [])


async def test_credit_at_stripe_pays_a_renewal_and_the_balance_tells_so(client: Client, buyer: Buying) -> None:
    one = await buyer("Starter")
    await one.ask_stripe(
        "POST", f"customers/{one.customer}/balance_transactions", amount=-1000, currency="usd", description="Goodwill"
    )
    before = (await client.get("/api/v1/balance", headers=one.me)).json()
    assert (before["balance"], len(before["entries"])) == (usd(1000), 1)
    assert before["entries"][0]["description"] == "Goodwill"
    await one.later(2 * HOUR)
    renewal, _ = await mirrored(one)
    assert (renewal["total"], renewal["balance_used"], renewal["amount_due"]) == (usd(2900), usd(1000), usd(1900))
    after = (await client.get("/api/v1/balance", headers=one.me)).json()
    assert after["balance"] == usd(0)
    assert [(entry["kind"], entry["amount"]["amount"]) for entry in after["entries"]] == [
        ("applied_to_invoice", -1000),
        ("adjustment", 1000),
    ]


async def test_who_never_bought_has_no_balance(client: Client, desk: Desk) -> None:
    answer = await client.get("/api/v1/balance", headers=await desk.a_customer())
    assert (answer.status_code, answer.json()) == (200, {"balance": None, "entries": []})


async def test_a_draft_is_not_shown(client: Client, buyer: Buying) -> None:
    one = await buyer("Starter")
    await one.later(60)
    assert (await one.invoices())[0][1] == "draft"
    [shown] = await mirrored(one)
    assert shown["status"] == "paid"
    overview = (await client.get("/api/v1/overview", headers=one.me)).json()
    assert len(overview["recent_invoices"]) == 1


async def test_an_open_invoice_leads_to_the_page_where_it_is_paid(buyer: Buying) -> None:
    one = await buyer("Starter")
    await one.use_card("pm_card_chargeCustomerFail")
    await one.later(2 * HOUR)
    unpaid, _ = await mirrored(one)
    assert (unpaid["status"], unpaid["amount_remaining"]) == ("open", usd(2900))
    page = await one.browser.get(str(unpaid["payment_url"]))
    assert "<form" in page.text


async def test_a_credit_note_and_a_refund_are_on_their_invoice(client: Client, buyer: Buying) -> None:
    one = await buyer("Starter")
    [charge] = (await one.ask_stripe("GET", f"charges?customer={one.customer}"))["data"]
    invoice_id = (await one.at_stripe())["latest_invoice"]
    await one.ask_stripe(
        "POST", "credit_notes", invoice=invoice_id, amount=900, credit_amount=900, reason="order_change"
    )
    await one.ask_stripe("POST", "refunds", charge=charge["id"], amount=500)
    await one.told()
    [row] = (await client.get(PATH, headers=one.me)).json()["items"]
    [note] = row["credit_notes"]
    assert (note["amount"], note["status"], note["reason"]) == (usd(900), "issued", "order_change")


async def test_filters(client: Client, buyer: Buying) -> None:
    one = await buyer("Starter")
    [invoice] = (await client.get(PATH, headers=one.me)).json()["items"]
    made = datetime.fromisoformat(invoice["created_at"])
    at, later = (rfc3339(made + timedelta(seconds=seconds)) for seconds in (0, 1))
    found = {
        "": 1,
        "?status=paid": 1,
        "?status=open": 0,
        f"?subscription_id={one.id}": 1,
        f"?subscription_id={one.license_id}": 0,
        f"?from={at}&to={later}": 1,
        f"?to={at}": 0,
        f"?from={later}": 0,
    }
    for query, number in found.items():
        answer = await client.get(f"{PATH}{query}", headers=one.me)
        assert (answer.status_code, answer.json()["total"]) == (200, number), query
    for query in ("?status=gone", "?state=paid", "?from=yesterday", "?subscription_id=1"):
        assert (await client.get(f"{PATH}{query}", headers=one.me)).status_code == 400, query


async def test_the_pdf_is_its_owners(client: Client, buyer: Buying, desk: Desk) -> None:
    one = await buyer("Starter")
    [invoice] = (await client.get(PATH, headers=one.me)).json()["items"]
    pdf = await client.get(f"{PATH}/{invoice['id']}/pdf", headers=one.me)
    assert (pdf.status_code, pdf.headers["content-type"]) == (200, "application/pdf")
    assert pdf.headers["content-disposition"] == f'attachment; filename="{invoice["number"]}.pdf"'
    assert pdf.content.startswith(b"%PDF-")
    stranger = await desk.a_customer()
    assert (await client.get(f"{PATH}/{invoice['id']}/pdf", headers=stranger)).status_code == 404


async def test_what_is_no_pdf_is_not_passed_on(client: Client, buyer: Buying, database_urls: DatabaseUrls) -> None:
    one = await buyer("Starter")
    [invoice] = (await client.get(PATH, headers=one.me)).json()["items"]
    for page in (f"{one.stripe}/health/ready", f"{one.stripe}/i/in_none/pdf", "http://127.0.0.1:1/pdf"):
        await change(database_urls, "UPDATE invoices SET invoice_pdf_url = :page", page=page)
        answer = await client.get(f"{PATH}/{invoice['id']}/pdf", headers=one.me)
        assert answer.status_code == 502, page


@pytest.mark.parametrize("url", ["http://pay.stripe.com/x", "https://stripe.com.example/x", "https://10.0.0.1/x"])
async def test_no_other_host_than_stripes_is_asked(stripe: StripeGateway, url: str) -> None:
    documents = StripeDocuments(stripe.v1, api_base=None)
    with pytest.raises(NotFound):
        await documents.pdf(url)
    await documents.close()
