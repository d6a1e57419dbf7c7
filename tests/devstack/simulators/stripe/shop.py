"""A shop at the simulated Stripe, driven with the real SDK over a real socket, and a browser for the hosted pages."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urljoin

import httpx
import stripe
from stripe import HTTPXClient, StripeClient

from tests.devstack.simulators.running import Simulator

API_KEY: Final = "sk_test_simulated"
VISA: Final = "4242424242424242"
DECLINED: Final = "4000000000000002"
ASKS_OWNER: Final = "4000000000003220"
SUCCESS_URL: Final = "http://shop.example/thanks?session={CHECKOUT_SESSION_ID}"
CANCEL_URL: Final = "http://shop.example/plans"


class Shop:
    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.http = simulator.http
        self._sdk_http = HTTPXClient(timeout=20, allow_sync_methods=True)
        self.client = StripeClient(API_KEY, http_client=self._sdk_http, base_addresses={"api": simulator.url})
        self.v1 = self.client.v1
        self._prices: dict[tuple[int, str | None], str] = {}

    def close(self) -> None:
        self._sdk_http.close()  # type: ignore[no-untyped-call]  # the SDK left it untyped

    def price(self, amount: int = 9900, interval: str | None = "month") -> str:
        """A price of that amount, the same one each time; one-off without an interval."""
        if (amount, interval) not in self._prices:
            product = self.v1.products.create({"name": f"Plan {amount}"})
            params: Any = {"product": product.id, "currency": "usd", "unit_amount": amount}
            params |= {"recurring": {"interval": interval}} if interval else {}
            self._prices[amount, interval] = self.v1.prices.create(params).id
        return self._prices[amount, interval]

    def customer(self, card: str | None = None) -> stripe.Customer:
        params: Any = {"email": "a@example.com", "name": "A Buyer"} | ({"payment_method": card} if card else {})
        return self.v1.customers.create(params)

    def session(self, **changes: Any) -> stripe.checkout.Session:
        params: dict[str, Any] = {
            "mode": "subscription",
            "line_items": [{"price": self.price(), "quantity": 1}],
            "success_url": SUCCESS_URL,
            "cancel_url": CANCEL_URL,
        }
        wanted: Any = {name: value for name, value in (params | changes).items() if value is not None}
        return self.v1.checkout.sessions.create(wanted)

    def subscription(self, amount: int = 9900, **changes: Any) -> stripe.Subscription:
        params: dict[str, Any] = {"items": [{"price": self.price(amount)}]}
        if "customer" not in changes:
            params["customer"] = self.customer("pm_card_visa").id
        wanted: Any = params | changes
        return self.v1.subscriptions.create(wanted)

    def confirm_latest(self, subscription_id: str) -> None:
        """The card's owner agrees on the bank's page to what the latest invoice asks for."""
        expand: Any = {"expand": ["latest_invoice.payments"]}
        invoice = wire(self.v1.subscriptions.retrieve(subscription_id, expand))["latest_invoice"]
        page = self.http.get(invoice["hosted_invoice_url"]).text
        address = re.search(r'<a href="([^"]*/3ds/[^"]*)"', page)
        assert address is not None, page
        self.http.post(address[1], data={"result": "complete"})

    def pay(self, session: stripe.checkout.Session, card: str = VISA, **typed: str) -> httpx.Response:
        """Fill in the first form of the page, as a person does."""
        page = self.http.get(str(session.url))
        action = re.search(r'<form[^>]*action="([^"]*)"', page.text)
        assert action is not None
        return self.submit(urljoin(str(session.url), action[1]), card, **typed)

    def submit(self, address: str | None, card: str = VISA, **typed: str) -> httpx.Response:
        """Send the form, whatever the page shows by now."""
        form = {"card_number": card, "exp": "12/99", "cvc": "123", "name": "A Buyer"} | typed
        return self.http.post(str(address), data=form)

    def events(self, newer_than: str | None = None) -> list[dict[str, Any]]:
        """Oldest first."""
        params: Any = {"limit": 100} | ({"ending_before": newer_than} if newer_than else {})
        found: list[dict[str, Any]] = wire(self.v1.events.list(params))["data"]
        return found[::-1]

    def all_events(self) -> list[dict[str, Any]]:
        """Newest first, however many."""
        page = wire(self.v1.events.list({"limit": 100}))
        found: list[dict[str, Any]] = page["data"]
        while page["has_more"]:
            page = wire(self.v1.events.list({"limit": 100, "starting_after": found[-1]["id"]}))
            found += page["data"]
        return found

    def last_event(self) -> str | None:
        events = wire(self.v1.events.list({"limit": 1}))["data"]
        return str(events[0]["id"]) if events else None

    def raw(self, method: str, path: str, headers: Mapping[str, str] | None = None, **rest: Any) -> httpx.Response:
        """A request as another client than the SDK might make it."""
        authorization = {"Authorization": f"Bearer {API_KEY}", "Stripe-Version": stripe.api_version}
        return self.http.request(method, path, headers=authorization | dict(headers or {}), **rest)


def wire(answer: Any) -> dict[str, Any]:
    """The JSON as it came, before the SDK made an object of it."""
    document: dict[str, Any] = answer.last_response.data
    return document


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]
