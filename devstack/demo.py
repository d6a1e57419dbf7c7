"""`make demo`: one purchase on a running stack, from a stranger's registration to a suspended license, step by step.

Each step is printed with the time at which it came true; one that does not come true ends the demo with a failure.
"""

import json
import secrets
import sys
import time
from pathlib import Path

import httpx

from devstack.visitor import Headers, NotSeen, Visitor, eventually


class Demo:
    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._started = time.perf_counter()
        self._paid_at = 0.0

    def play(self) -> None:
        email, me = self._register()
        license_id = self._buy(me)
        key = self._visitor.reveal_key(me, license_id)
        self._say("the customer reveals the key", key)
        self._validate(key)
        self._await_account(me, license_id, email)
        self._use(key)
        self._change_plan(me, license_id, key, email)
        self._suspend_and_resume(key, license_id)

    def _register(self) -> tuple[str, Headers]:
        email, password = f"demo-{secrets.token_hex(4)}@example.com", secrets.token_urlsafe(18)
        self._visitor.register(email, password)
        self._say("a stranger registers", email)
        self._visitor.follow_verification_link(email)
        self._say("the link in the mail is followed")
        me = self._visitor.sign_in(email, password)
        self._say("the customer signs in")
        return email, me

    def _buy(self, me: Headers) -> str:
        price = self._visitor.plan("Professional")["price_monthly"]["amount"]
        checkout = self._visitor.start_checkout(me)
        self._say("a checkout for Professional", f"{price // 100} USD a month")
        self._paid_at = time.perf_counter()
        self._visitor.pay(checkout["url"])
        self._say("the card is paid on Stripe's page, and the browser is back")
        bought = eventually("an active license", lambda: self._visitor.licenses(me, status="active"))
        self._say("the license is there", bought[0]["id"])
        return str(bought[0]["id"])

    def _validate(self, key: str) -> None:
        verdict = eventually("a valid verdict", lambda: self._visitor.judged(key, "VALID"))
        took = time.perf_counter() - self._paid_at
        self._say("NextPanel may create a database", f"{verdict['remaining_quota']} left")
        self._say("", f"from the click on Pay to a valid verdict: {took:.2f} s")

    def _await_account(self, me: Headers, license_id: str, email: str) -> None:
        def login_url() -> str | None:
            url: str | None = self._visitor.call("GET", f"/licenses/{license_id}", me)["nextpanel_login_url"]
            return url

        self._say("NextPanel has made the account", eventually("the NextPanel account", login_url))
        mail = eventually("the mail", lambda: self._visitor.ready_mails(email))[0]
        self._say("a mail arrives", mail["subject"])

    def _use(self, key: str) -> None:
        recorded = self._visitor.report_usage(key)
        self._say("a database is created and reported", f"{recorded['quota_remaining']} left")
        eventually("the validator to know", lambda: self._visitor.judged(key, "VALID", remaining=49))
        self._say("the validator knows")

    def _change_plan(self, me: Headers, license_id: str, key: str, email: str) -> None:
        self._visitor.change_plan(me, "Enterprise").raise_for_status()
        eventually("no limit", lambda: self._visitor.verdict(key).get("remaining_quota", 0) is None)
        self._say("an upgrade to Enterprise is paid", "the validator knows no limit of databases")
        pending = self._visitor.change_plan(me, "Starter").raise_for_status().json()["pending_change"]
        self._say("a downgrade to Starter waits", f"until {pending['takes_effect_at'][:10]}")
        self._visitor.at_stripe(email, "test_clock", after_period=7200)
        eventually("the downgrade", lambda: self._visitor.judged(key, "VALID", remaining=4))
        used = self._visitor.call("GET", f"/licenses/{license_id}/usage", me)["resources"]["databases"]
        self._say("a month passes at Stripe", f"databases: {used['used']} of {used['limit']} used")

    def _suspend_and_resume(self, key: str, license_id: str) -> None:
        admin = self._visitor.admin()
        for verb, code in (("suspend", "SUSPENDED"), ("resume", "VALID")):
            self._visitor.call("POST", f"/admin/licenses/{license_id}/{verb}", admin, {"reason": "shown in the demo"})
            answered = time.perf_counter()
            eventually(f"the verdict {code}", lambda wanted=code: self._visitor.judged(key, wanted))  # type: ignore[misc]  # a default binds the loop's value
            lag = (time.perf_counter() - answered) * 1000
            self._say(f"an administrator {verb}s it: {code}", f"{lag:.0f} ms after the answer")

    def _say(self, what: str, detail: str = "") -> None:
        at = f"{time.perf_counter() - self._started:6.2f} s" if what else " " * 8
        print(f"{at}  {what}{'  ' if what and detail else ''}{detail}", flush=True)


def main(data: Path) -> int:
    """Runs the demo against the stack whose state lies under `data`."""
    try:
        facts = json.loads((data / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        print(f"no stack is running from {data}: start one with `make up` in another terminal", file=sys.stderr)
        return 1
    try:
        with httpx.Client(timeout=15) as http:
            Demo(Visitor(facts, http)).play()
    except (NotSeen, httpx.HTTPError) as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    return 0
