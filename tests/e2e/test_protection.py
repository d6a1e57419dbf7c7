"""License protection on the whole stack: the validator applies an owner's change at once.

The delay is printed and not asserted here, because machines may be busy. `make suspension` measures the same way from
COMMIT to refusal (p99 ≤ 250 ms).
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from core.clock import unix_time
from core.crypto.signature import HEADER, sign
from core.settings import process_environment
from devstack.visitor import Headers, Visitor, eventually
from tests.e2e.conftest import RunningStack
from tests.support.servers import ROOT

VALIDATE = "/api/v1/nextpanel/validate-license"
REPORT = "/api/v1/billing/usage"


class Panel:
    """An activated NextPanel server, with its API key."""

    def __init__(self, visitor: Visitor, given: Mapping[str, Any], license_key: str) -> None:
        self.visitor = visitor
        self.given = given
        self.license_key = license_key

    def ask(self, secret: str | None = None, **changes: Any) -> httpx.Response:
        """A validation call."""
        content = {"license_key": self.license_key, "feature": "create_database"} | changes
        return self._signed("validator", VALIDATE, content, secret)

    def code(self, secret: str | None = None, **changes: Any) -> str:
        """The code of the verdict, or of the problem."""
        return str(self.ask(secret, **changes).json()["code"])

    def report(self) -> int:
        content = {"license_key": self.license_key, "resource": "databases", "action": "set", "count": 1}
        return self._signed("billing_api", REPORT, content, None, f"r-{time.monotonic_ns()}").status_code

    def _signed(
        self, service: str, path: str, content: Mapping[str, Any], secret: str | None, idem: str = ""
    ) -> httpx.Response:
        body = json.dumps(content).encode()
        signature = sign(
            self.given["key_id"],
            secret or self.given["secret"],
            method="POST",
            target=path,
            body=body,
            now=unix_time(),
            idempotency_key=idem,
        )
        headers = {HEADER: signature, "Content-Type": "application/json"} | ({"Idempotency-Key": idem} if idem else {})
        return self.visitor.http.post(f"{self.visitor.facts[service]}{path}", content=body, headers=headers)


class Owner:
    """The demo customer with a license of its own, and a panel that was activated for it."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor
        order = {"email": visitor.facts["customer"]["email"], "plan": "starter"}
        issued = visitor.call("POST", "/admin/licenses", visitor.admin(), order)
        self.license_id = issued["id"]
        self.me: Headers = visitor.sign_in(**visitor.facts["customer"])
        self.panel = self.activated(issued["license_key"], "machine-1")

    def activated(self, key: str, fingerprint: str) -> Panel:
        token = self.call("POST", "activation-tokens")["activation_token"]
        order = {"license_key": key, "activation_token": token, "fingerprint": fingerprint}
        panel = Panel(self.visitor, self.visitor.call("POST", "/nextpanel/activate", content=order), key)
        eventually("the panel's first verdict", lambda: panel.code(fingerprint=fingerprint) == "VALID")
        return panel

    def call(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self.visitor.call(method, f"/licenses/{self.license_id}/{path}", self.me, content)

    def key_call(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> httpx.Response:
        """On the panel's API key."""
        keys = self.call("GET", "api-keys")["items"]
        [key] = [key for key in keys if key["key_id"] == self.panel.given["key_id"]]
        url = f"{self.visitor.facts['billing_api']}/api/v1/api-keys/{key['id']}{path}"
        answer = self.visitor.http.request(method, url, headers=self.me, json=content)
        assert answer.is_success, answer.text
        return answer


@pytest.fixture
def owner(visitor: Visitor) -> Owner:
    return Owner(visitor)


def noticed(what: str, look: Callable[[], bool]) -> None:
    """From the answer to the change until `look` sees it."""
    began = time.perf_counter()
    eventually(what, look)
    sys.stdout.write(f"{what}: {(time.perf_counter() - began) * 1000:.0f} ms after the answer\n")


def test_a_revoked_key_is_refused_by_validator_and_api(owner: Owner) -> None:
    assert owner.panel.report() == 200
    assert owner.key_call("DELETE", "").status_code == 204
    noticed("revoked at the validator", lambda: owner.panel.ask().status_code == 401)
    noticed("revoked at the API", lambda: owner.panel.report() == 401)
    assert owner.panel.ask().status_code == 401, "for good"


def test_a_rotated_secret_overlaps_and_then_ends(owner: Owner) -> None:
    panel = owner.panel
    new = owner.key_call("POST", "/rotate", {"overlap_seconds": 3600}).json()["secret"]
    noticed("the new secret", lambda: panel.ask(new).status_code == 200)
    assert panel.ask().status_code == 200, "the one before it works too"
    newest = owner.key_call("POST", "/rotate", {"overlap_seconds": 0}).json()["secret"]
    noticed("the newest secret", lambda: panel.ask(newest).status_code == 200)
    assert [panel.ask(secret).status_code for secret in (None, new)] == [401, 401]


def test_a_license_is_bound_and_freed(owner: Owner) -> None:
    panel = owner.panel
    noticed("the binding", lambda: panel.code(fingerprint="machine-2") == "FINGERPRINT_MISMATCH")
    assert panel.code(fingerprint="machine-1") == "VALID"
    owner.call("POST", "reset-fingerprint")
    noticed("the reset", lambda: panel.code(fingerprint="machine-2") == "VALID")
    other = owner.activated(panel.license_key, "machine-2")
    noticed("the new binding", lambda: panel.code(fingerprint="machine-1") == "FINGERPRINT_MISMATCH")
    assert other.code(fingerprint="machine-2") == "VALID"


def test_a_rotated_license_key_ends_and_api_keys_go_on_with_the_new_one(owner: Owner) -> None:
    panel = owner.panel
    new = owner.call("POST", "rotate-key")["license_key"]
    noticed("the old key's end", lambda: panel.code() == "NOT_FOUND")
    noticed("the new key", lambda: panel.code(license_key=new) == "VALID")
    assert panel.code() == "NOT_FOUND"
    panel.license_key = new
    noticed("a report under the new key", lambda: panel.report() == 200)


def test_what_was_done_can_be_read_by_its_owner(owner: Owner) -> None:
    owner.call("POST", "reset-fingerprint")
    told = [event["action"] for event in owner.call("GET", "events")["items"]]
    assert told == [
        "license.fingerprint_reset",
        "license.activated",
        "license.activation_token_created",
        "license.issued",
    ]


def test_the_running_stack_is_proved_by_its_commands(stack: RunningStack, owner: Owner) -> None:
    assert owner.license_id
    eventually(
        "all of it is sealed", lambda: "waiting      0 rows" in command(stack, "workers.commands.verify_audit"), 120
    )
    assert "nothing lies under any key but k1" in command(stack, "workers.commands.rotate_kek", "--count")


def command(stack: RunningStack, module: str, *arguments: str) -> str:
    """A target of the Makefile, which must succeed."""
    env = {name: value for name, value in process_environment().items() if not name.startswith("NP_")}
    done = subprocess.run(
        (sys.executable, "-m", "devstack", "run", module, *arguments),
        cwd=ROOT,
        env=env | {"NP_DATA": str(stack.data)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
