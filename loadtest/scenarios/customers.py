"""Customers: they browse, look after their licenses, and now and then buy."""

import random
import re
import secrets
from typing import Any, Final
from urllib.parse import urlencode, urljoin

from locust import between, tag, task
from typing_extensions import override

from loadtest.scenarios.caller import Dropped, fresh_key
from loadtest.scenarios.people import API, Person

_GOOD_CARD: Final = "4242 4242 4242 4242"
_DECLINED_CARD: Final = "4000 0000 0000 0002"
_DECLINED_FIRST: Final = 0.1
_PAYMENT_REQUIRED: Final = 402
_STEP_UP: Final = 403
_LOOKS: Final = 60
_LOOK_EACH: Final = 0.5


class Customer(Person):
    """One of the seeded customers, in a browser."""

    weight = 10
    wait_time = between(0.5, 3)

    @override
    def on_start(self) -> None:
        who = next(self.world.turns)
        self.email, self.password = who.email, who.password
        self.sign_in()

    @tag("browse")
    @task(5)
    def look_at_plans(self) -> None:
        self._plans()

    @tag("browse")
    @task(8)
    def look_at_licenses(self) -> None:
        licenses = self.items("/licenses", name="/licenses")
        if licenses:
            one = random.choice(licenses)["id"]
            self.mine("GET", f"/licenses/{one}", name="/licenses/:id")
            self.mine("GET", f"/licenses/{one}/usage", name="/licenses/:id/usage")

    @tag("browse")
    @task(2)
    def look_at_account(self) -> None:
        self.mine("GET", "/me", name="/me")

    @tag("browse")
    @task(1)
    def reveal_a_key(self) -> None:
        """Refused where the sign-in was more than five minutes ago."""
        for license_ in self.items("/licenses?limit=1", name="/licenses"):
            path = f"/licenses/{license_['id']}/reveal-key"
            self.mine("POST", path, name="/licenses/:id/reveal-key", refusals=(_STEP_UP,))

    @tag("checkout")
    @task(1)
    def buy(self) -> None:
        order = {"plan_id": random.choice(self._plans())["id"], "interval": random.choice(("month", "year"))}
        headers = {"Idempotency-Key": fresh_key()}
        started = self.mine("POST", "/checkout/sessions", order, name="/checkout/sessions", headers=headers).body
        if random.random() < _DECLINED_FIRST:
            self._pay(started["url"], _DECLINED_CARD)
        self._pay(started["url"], _GOOD_CARD)
        for _ in range(_LOOKS):
            checkout = self.mine("GET", f"/checkout/sessions/{started['session_id']}", name="/checkout/sessions/:id")
            if checkout.body["license_id"]:
                return
            self.pause(_LOOK_EACH)
        self.complain("checkout", f"no license {_LOOKS * _LOOK_EACH:.0f} s after paying")

    def _plans(self) -> list[dict[str, Any]]:
        plans: list[dict[str, Any]] = self.call("GET", f"{API}/plans", name="/plans").body["items"]
        return plans

    def _pay(self, url: str, card: str) -> None:
        """Types a card into the form of Stripe's page; the browser then comes back to the shop, if it was good."""
        with self.client.get(url, name="stripe: the page", catch_response=True) as page:
            form = re.search(r'<form[^>]*action="([^"]*)"', page.text or "")
        fields = urlencode({"card_number": card, "exp": "12/99", "cvc": "123", "name": self.email})
        with self.client.post(
            urljoin(url, form[1] if form else ""),
            name="stripe: pay",
            data=fields,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            allow_redirects=False,
            catch_response=True,
        ) as paid:
            declined = card == _DECLINED_CARD and paid.status_code == _PAYMENT_REQUIRED
            back = str(paid.headers.get("location", "")) if paid.status_code == 303 else ""
            if not declined and not back:
                paid.failure(f"HTTP {paid.status_code}")
                raise Dropped
            paid.success()
        if back:
            self.call("GET", back, name="back from Stripe")


class Newcomer(Customer):
    """Somebody who registers first, follows the link in the mail, and is a customer from then on."""

    weight = 1

    @override
    def on_start(self) -> None:
        name = secrets.token_hex(8)
        self.email, self.password = f"newcomer-{name}@seeded.nextpanel.example", secrets.token_urlsafe(18)
        content = {"email": self.email, "password": self.password, "full_name": "New Comer"}
        self.call("POST", f"{API}/auth/register", content, name="/auth/register")
        self.call("POST", f"{API}/auth/verify-email", {"token": self._mailed_token()}, name="/auth/verify-email")
        self.sign_in()

    def _mailed_token(self) -> str:
        box = f"{self.world.stack.simulators['mail']}/_sim/messages?{urlencode({'to': self.email})}"
        for _ in range(_LOOKS):
            for mail in self.call("GET", box, name="mail: the inbox").body["items"]:
                if token := re.search(r"token=([\w.\-]+)", mail["text"]):
                    return token[1]
            self.pause(_LOOK_EACH)
        self.complain("/auth/register", f"no mail {_LOOKS * _LOOK_EACH:.0f} s after registering")
        raise Dropped
