"""NextPanel's servers: each looks after some licenses, asks before it acts, and reports what it did."""

import random
from typing import Any, Final

from locust import between, tag, task
from typing_extensions import override

from core.licensing.plan import RESOURCE_OF_FEATURE
from core.licensing.verdict import Code
from loadtest.scenarios.caller import Caller, fresh_key

_PREFIX: Final = "/api/v1/nextpanel"
_USAGE: Final = "/api/v1/billing/usage"
_LICENSES_EACH: Final = 20
_TTL_SECONDS: Final = 30
_SENT_TWICE: Final = 0.05
_FEATURES: Final = (*RESOURCE_OF_FEATURE, "backups", "staging", "white_label")
_RESOURCES: Final = tuple(RESOURCE_OF_FEATURE.values())
_GOOD: Final = frozenset({Code.VALID, Code.GRACE})


class Panel(Caller):
    weight = 30
    wait_time = between(0.1, 0.5)

    @override
    def on_start(self) -> None:
        keys = self.world.license_keys
        self._keys = random.sample(keys, min(_LICENSES_EACH, len(keys)))

    @tag("validate")
    @task(60)
    def validate(self) -> None:
        self._verdict(self._key(), random.choice(_FEATURES))

    @tag("validate")
    @task(8)
    def validate_many(self) -> None:
        items = [
            {"license_key": key, "feature": random.choice(_FEATURES)}
            for key in random.choices(self._keys, k=random.randint(2, 50))
        ]
        answer = self.signed(self._validator, f"{_PREFIX}/validate-licenses", {"items": items})
        if len(answer.body.get("items", ())) != len(items):
            self.complain("validate-licenses", "not as many verdicts as questions")

    @tag("validate", "typing")
    @task(3)
    def mistyped(self) -> None:
        """Its last symbol is a checksum, so exactly one of the 32 that may stand there is right."""
        key = self._key()
        wrong = key[:-1] + random.choice([symbol for symbol in "0123456789ABCDEFGH" if symbol != key[-1]])
        self._verdict(wrong, "create_database", expected=Code.NOT_FOUND)

    @tag("validate")
    @task(3)
    def unknown_feature(self) -> None:
        verdict = self._verdict(self._key(), "fly_to_the_moon")
        if verdict["valid"]:
            self.complain("validate-license", "a feature that nobody sells was granted")

    @tag("validate")
    @task(1)
    def explain(self) -> None:
        self.signed(self._validator, f"{_PREFIX}/explain", {"license_key": self._key(), "feature": "create_email"})

    @tag("reserve")
    @task(8)
    def create_something(self) -> None:
        """Holds one, reports it as created, and after a while as deleted: the whole life of a database."""
        key, resource = self._key(), random.choice(_RESOURCES)
        hold = self._reserve(key, resource)
        if hold["granted"]:
            self._report(key, resource, "created", reservation_id=hold["reservation_id"])
            self._report(key, resource, "deleted")

    @tag("reserve")
    @task(4)
    def change_its_mind(self) -> None:
        key = self._key()
        hold = self._reserve(key, "databases")
        if hold["granted"]:
            content = {"license_key": key, "reservation_id": hold["reservation_id"]}
            self.signed(self._validator, f"{_PREFIX}/release", content)

    @tag("usage")
    @task(6)
    def resync(self) -> None:
        """A gauge, and the full count of what lies on the server."""
        content: dict[str, Any] = {"resource": "storage_gb", "action": "set", "count": random.randint(0, 9)}
        self._send_report(content | {"license_key": self._key()})

    @property
    def _validator(self) -> str:
        return self.world.stack.validator

    def _key(self) -> str:
        return random.choice(self._keys)

    def _verdict(self, key: str, feature: str, expected: Code | None = None) -> dict[str, Any]:
        content = {"license_key": key, "feature": feature}
        verdict = self.signed(self._validator, f"{_PREFIX}/validate-license", content).body
        if verdict["valid"] != (verdict["code"] in _GOOD):
            self.complain("validate-license", f"valid={verdict['valid']} and {verdict['code']}")
        if expected is not None and verdict["code"] != expected:
            self.complain("validate-license", f"{verdict['code']} where only {expected.value} can be true")
        return verdict

    def _reserve(self, key: str, resource: str) -> dict[str, Any]:
        content = {"license_key": key, "resource": resource, "count": 1, "ttl": _TTL_SECONDS}
        return self.signed(self._validator, f"{_PREFIX}/reserve", content).body

    def _report(self, key: str, resource: str, action: str, **more: str) -> None:
        self._send_report({"license_key": key, "resource": resource, "action": action, "count": 1, **more})

    def _send_report(self, content: dict[str, Any]) -> None:
        """Now and then twice, as a panel does that has not heard the first answer: it must count once."""
        key = fresh_key()
        first = self.signed(self.world.stack.billing_api, _USAGE, content, idempotency_key=key).body
        if not first["success"]:
            self.complain("usage", "a fact was not recorded")
        if random.random() < _SENT_TWICE:
            again = self.signed(self.world.stack.billing_api, _USAGE, content, idempotency_key=key).body
            if again != first:
                self.complain("usage", "the same report had two answers")
