"""Test client of a running stack, over HTTP: the customer's browser, an administrator, NextPanel's servers.

Knows nothing but what `run.json` tells. The demo plays its story with it; the end-to-end tests ask it hard questions.
"""

import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from html import unescape
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import urljoin

import httpx

from core.clock import unix_time
from core.crypto.signature import HEADER, sign

T = TypeVar("T")
Headers = Mapping[str, str]

PATIENCE: Final = 20.0
_GLANCE: Final = 0.005
_SLOWER: Final = 1.1
_SLOWEST: Final = 0.5
"""A user may ask the API a hundred times a minute: a long wait polls less and less often."""
GOOD_CARD: Final = "4242 4242 4242 4242"
DECLINED_CARD: Final = "4000 0000 0000 0002"


class NotSeen(Exception):
    """Something did not come true in time, or a call was refused; the text says what."""


def eventually(what: str, look: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """Polls `look`; returns its first truthy answer."""
    until, pause = time.perf_counter() + patience, _GLANCE
    while time.perf_counter() < until:
        if seen := look():
            return seen
        time.sleep(pause)
        pause = min(pause * _SLOWER, _SLOWEST)
    raise NotSeen(f"not within {patience:.0f} s: {what}")


class Visitor:
    def __init__(self, facts: Mapping[str, Any], http: httpx.Client) -> None:
        """`facts`: what run.json holds."""
        self.facts = facts
        self.http = http
        self._ahead: int | None = None

    def call(
        self, method: str, path: str, headers: Headers | None = None, content: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """One call of the billing API that must succeed."""
        url = f"{self.facts['billing_api']}/api/v1{path}"
        answer = self.http.request(method, url, headers=headers, json=content)
        while answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:  # a client that polls waits when it is told to
            time.sleep(int(answer.headers["Retry-After"]))
            answer = self.http.request(method, url, headers=headers, json=content)
        if answer.is_error:
            raise NotSeen(f"{method} {path} answered {answer.status_code}: {answer.text[:300]}")
        body: dict[str, Any] = answer.json()
        return body

    def register(self, email: str, password: str) -> None:
        self.call("POST", "/auth/register", content={"email": email, "password": password, "full_name": "Demo Buyer"})

    def follow_verification_link(self, email: str) -> None:
        """Opens the link that the mail has, and presses the button of the page."""
        link = eventually("the verification mail", lambda: self._link_mailed_to(email))
        page = self.http.get(link)
        action = re.search(r'<form[^>]*action="([^"]*)"', page.text)
        if page.is_error or action is None:
            raise NotSeen(f"the verification mail's link answered {page.status_code}, without a form")
        hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page.text)
        fields = {name: unescape(value) for name, value in hidden}
        answer = self.http.post(urljoin(link, action[1]), data=fields)
        if answer.is_error:
            raise NotSeen(f"the verification page's form answered {answer.status_code}")

    def sign_in(self, email: str, password: str) -> Headers:
        granted = self.call("POST", "/auth/login", content={"email": email, "password": password})
        return {"Authorization": f"Bearer {granted['access_token']}"}

    def now(self) -> float:
        """The stack's time in Unix seconds, which may have been moved."""
        if self._ahead is None:
            url = self.facts["simulators"].get("stripe")
            there = self.http.get(f"{url}/_sim/time") if url else None
            self._ahead = round(there.json()["now"] - unix_time()) if there and there.is_success else 0
        return unix_time() + self._ahead

    def move_time(self, to: float) -> httpx.Response:
        """Asks for another time of the whole stack. Users have to sign in again."""
        answer = self.http.post(f"{self.simulator('stripe')}/_sim/time", json={"to": int(to)}, timeout=600)
        self._ahead = None
        return answer

    def admin(self) -> Headers:
        return self.sign_in(**self.facts["admin"])

    def new_customer(self) -> tuple[str, Headers]:
        """A registered, verified, signed-in customer: address and headers."""
        email, password = f"buyer-{secrets.token_hex(4)}@example.com", secrets.token_urlsafe(18)
        self.register(email, password)
        self.follow_verification_link(email)
        return email, self.sign_in(email, password)

    def plan(self, name: str) -> dict[str, Any]:
        plans: list[dict[str, Any]] = self.call("GET", "/plans")["items"]
        return next(plan for plan in plans if plan["name"] == name)

    def start_checkout(self, me: Headers, plan: str = "Professional") -> dict[str, Any]:
        order = {"plan_id": self.plan(plan)["id"], "interval": "month"}
        return self.call("POST", "/checkout/sessions", {**me, "Idempotency-Key": secrets.token_hex(8)}, order)

    def pay(self, url: str, card: str = GOOD_CARD, *, come_back: bool = True) -> httpx.Response:
        """Fills in the form of Stripe's page. `come_back`: the browser follows the way back to the shop."""
        page = self.http.get(url)
        form = re.search(r'<form[^>]*action="([^"]*)"', page.text)
        fields = {"card_number": card, "exp": "12/99", "cvc": "123", "name": "Demo Buyer"}
        return self.http.post(urljoin(url, form[1] if form else ""), data=fields, follow_redirects=come_back)

    def licenses(self, me: Headers, **query: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.call("GET", f"/licenses?{httpx.QueryParams(query)}", me)["items"]
        return items

    def reveal_key(self, me: Headers, license_id: str) -> str:
        return str(self.call("POST", f"/licenses/{license_id}/reveal-key", me)["license_key"])

    def verdict(self, key: str, feature: str = "create_database") -> dict[str, Any]:
        """The validator's answer: a verdict or a problem."""
        path = "/api/v1/nextpanel/validate-license"
        return self._signed("validator", path, {"license_key": key, "feature": feature})

    def judged(self, key: str, code: str, remaining: int | None = None) -> dict[str, Any] | None:
        """The verdict, once it has this code (and this much left)."""
        verdict = self.verdict(key)
        fits = verdict.get("code") == code and remaining in {None, verdict["remaining_quota"]}
        return verdict if fits else None

    def change_plan(self, me: Headers, plan: str, interval: str = "month") -> httpx.Response:
        """Asks for another plan for the only subscription there is."""
        subscription = self.call("GET", "/subscriptions", me)["items"][0]
        url = f"{self.facts['billing_api']}/api/v1/subscriptions/{subscription['id']}/change"
        wish = {"plan_id": self.plan(plan)["id"], "interval": interval}
        return self.http.post(url, headers={**me, "Idempotency-Key": secrets.token_hex(8)}, json=wish)

    def at_stripe(self, email: str, what: str, **content: Any) -> None:
        """An event at Stripe: time that passes, another card."""
        self.http.post(f"{self.simulator('stripe')}/_sim/customers/{email}/{what}", json=content).raise_for_status()

    def report_usage(self, key: str, count: int = 1, action: str = "created") -> dict[str, Any]:
        report = {"license_key": key, "resource": "databases", "action": action, "count": count}
        return self._signed("billing_api", "/api/v1/billing/usage", report, secrets.token_hex(8))

    def mails(self, email: str) -> list[dict[str, Any]]:
        items = self.http.get(f"{self.simulator('mail')}/_sim/messages").json()["items"]
        return [mail for mail in items if mail["to"] == email]

    def ready_mails(self, email: str) -> list[dict[str, Any]]:
        """Mails that say a license is ready; the others carry a token."""
        return [mail for mail in self.mails(email) if "token=" not in mail["text"]]

    def accounts(self, license_id: str) -> list[dict[str, Any]]:
        items = self.http.get(f"{self.simulator('nextpanel')}/_sim/accounts").json()["items"]
        return [account for account in items if account["license_id"] == license_id]

    def simulator(self, name: str) -> str:
        return str(self.facts["simulators"][name])

    def _signed(self, service: str, path: str, content: Mapping[str, Any], idempotency_key: str = "") -> dict[str, Any]:
        key = self.facts["platform_key"]
        body = json.dumps(content).encode()
        signature = sign(
            key["key_id"],
            key["secret"],
            method="POST",
            target=path,
            body=body,
            now=self.now(),
            idempotency_key=idempotency_key,
        )
        headers = {HEADER: signature, "Content-Type": "application/json"}
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        answer: dict[str, Any] = self.http.post(self.facts[service] + path, content=body, headers=headers).json()
        return answer

    def _link_mailed_to(self, email: str) -> str | None:
        links = [re.search(r"\S+token=\S+", mail["text"]) for mail in self.mails(email)]
        return next((link[0] for link in links if link), None)
