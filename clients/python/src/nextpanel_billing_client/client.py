"""Client of the validator and the billing API, for NextPanel.

    async with BillingClient(validator_url=…, billing_url=…, key_id=…, secret=…, store=Path("billing.db")) as billing:
        verdict = await billing.validate(license_key, "create_database", used=3)
        async with billing.reserve(license_key, "databases"):
            ...  # create it; leaving the block reports it, an exception gives the reservation back

No verdict is cached: the validator answers faster than a cache could be kept honest. What is kept is a lease, and it
answers only where the service cannot be asked.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar
from uuid import uuid4

import httpx

from nextpanel_billing_client.activation import Activations
from nextpanel_billing_client.answers import (
    Activation,
    BillingError,
    Declined,
    Hold,
    Question,
    Refused,
    RefusedReport,
    Unreachable,
    Verdict,
)
from nextpanel_billing_client.api_key import ApiKey, ApiKeys
from nextpanel_billing_client.leases import Leases
from nextpanel_billing_client.reports import Reports
from nextpanel_billing_client.store import Store
from nextpanel_billing_client.transport import Read, Transport, address

log = logging.getLogger(__name__)

T = TypeVar("T")
Resource = Literal["accounts", "domains", "databases", "emails", "storage_gb"]
Action = Literal["created", "deleted", "set"]

_MOST_ITEMS: Final = 100
_LONGEST_KEY: Final = 255
_RELEASE_WITHIN: Final = 1.0
_FOR_THE_STORE: Final = 0.25
"""Seconds of the patience in which the store may answer when the service has not."""


class BillingClient:
    def __init__(
        self,
        *,
        validator_url: str,
        billing_url: str,
        store: Path | str,
        key_id: str | None = None,
        secret: str | None = None,
        http: httpx.AsyncClient | None = None,
        attempts: int = 3,
        patience: float = 2.0,
        clock: Callable[[], float] = time.time,  # noqa: TID251  a package of its own has its own clock
    ) -> None:
        """`store`: a file of this client's own, made with its folder. `patience`: seconds for a question, all attempts.

        Without `key_id` and `secret` the API key is the one that `activate` has stored. Raises StoreUnusable, or
        ValueError for an address or a key that cannot be one.
        """
        self._validator_url = address(validator_url, "validator_url")
        billing_url = address(billing_url, "billing_url")
        given = ApiKey.given(key_id, secret)
        self._store = Store(Path(store))
        self._http = http or httpx.AsyncClient(cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])))
        self._closes_http = http is None
        self._clock = clock
        self._keys = ApiKeys(self._store, given)
        self._ask = Transport(self._http, self._keys, attempts=attempts, patience=patience, clock=clock)
        tell = Transport(self._http, self._keys, attempts=1, patience=10, clock=clock)
        activate = Transport(self._http, self._keys, attempts=3, patience=10, clock=clock)
        self._patience = patience
        self._for_asking = patience - min(_FOR_THE_STORE, patience / 4)
        self._leases = Leases(self._store, self._ask, self._validator_url, clock)
        self._reports = Reports(self._store, tell, billing_url, clock)
        self._activations = Activations(self._keys, activate, self._leases, billing_url)
        self._delivery: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._delivery is not None:
            raise RuntimeError("this client was entered before: make another for each start")
        self._delivery = asyncio.create_task(self._reports.run())
        self._delivery.add_done_callback(_delivery_ended)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Undelivered reports stay in the store for the next start."""
        if self._delivery is not None:
            self._delivery.cancel()
            await asyncio.gather(self._delivery, return_exceptions=True)
        await self._leases.close()
        if self._closes_http:
            await self._http.aclose()
        await asyncio.to_thread(self._store.close)

    async def activate(self, license_key: str, activation_token: str, *, fingerprint: str | None = None) -> Activation:
        """Exchanges license key and one-time token for this panel's API key, which is stored and used from then on.

        Call it again with the same words after any failure or crash: they activate once, and what is stored already is
        answered without a call. Another token activates anew, and replaces what is stored. Raises Unreachable where
        there was no answer, Refused where the license or the token is not accepted, StoreUnusable.
        """
        if self._keys.is_given:
            raise ValueError("this client was given key_id and secret; leave them out to activate")
        activation = await self._activations.activate(license_key, activation_token, fingerprint)
        self._reports.wake()
        return activation

    async def activation(self) -> Activation | None:
        """What the store holds of an activation; None where there was none."""
        return await self._activations.current()

    async def validate(
        self, license_key: str, feature: str, *, fingerprint: str | None = None, used: int | None = None
    ) -> Verdict:
        """Asks for a verdict.

        Raises Unreachable where there is no answer, Refused where the call is wrong, NotActivated without an API key.

        `used`: how many of the resource you count yourself; without it a lease cannot answer for counted features.
        """
        question = Question(license_key, feature, fingerprint, used)
        until = monotonic() + self._patience
        try:
            verdict = await self._post("validate-license", question.body(), Verdict.of, within=self._for_asking)
        except Unreachable as failure:
            return await self._from_lease(question, failure, until)
        await self._leases.heard(question, verdict, until)
        return verdict

    async def validate_many(self, questions: Sequence[Question]) -> list[Verdict]:
        """Verdicts in the same order. Raises Unreachable where even one of them has no answer."""
        verdicts: list[Verdict] = []
        for start in range(0, len(questions), _MOST_ITEMS):
            verdicts += await self._validate_some(questions[start : start + _MOST_ITEMS])
        return verdicts

    @asynccontextmanager
    async def reserve(
        self, license_key: str, resource: Resource, count: int = 1, *, ttl: int = 30, fingerprint: str | None = None
    ) -> AsyncIterator[Hold]:
        """Holds `count` of a resource for the block: its end reports them as created, an exception gives them back.

        Raises Declined where they are not granted, Unreachable where nobody can tell: a lease grants nothing. The block
        has `ttl` seconds (60 at most); after that others may be given what it holds, and the report may be overage.
        """
        asked: dict[str, Any] = {"license_key": license_key, "resource": resource, "count": count, "ttl": ttl}
        if fingerprint is not None:
            asked["fingerprint"] = fingerprint
        hold = await self._reserve(asked)
        if isinstance(hold, Declined):
            raise hold
        try:
            yield hold
        except BaseException:
            await self._release(license_key, hold)
            raise
        await self.report(license_key, resource, "created", count, reservation_id=hold.reservation_id)

    async def report(
        self,
        license_key: str,
        resource: Resource,
        action: Action,
        count: int,
        *,
        reservation_id: str | None = None,
        occurred_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Returns once the report is on this machine's disk; it is delivered from there. Answers its idempotency key.

        Raises StoreUnusable where it cannot be written down; nothing is reported then.

        With an `idempotency_key` of your own the same report may be made twice and counts once. It needs its own
        `occurred_at` then: two reports under one key must be alike.
        """
        if idempotency_key is not None and occurred_at is None:
            raise ValueError("a report with your own idempotency_key needs occurred_at")
        if idempotency_key is not None and not _is_a_key(idempotency_key):
            raise ValueError("an idempotency_key is 1 to 255 printable ASCII characters")
        occurred_at = occurred_at or datetime.fromtimestamp(self._clock(), UTC)
        if occurred_at.tzinfo is None:
            raise ValueError("occurred_at needs a time zone: datetime.now(UTC), for example")
        report: dict[str, Any] = {
            "license_key": license_key,
            "resource": resource,
            "action": action,
            "count": count,
            "occurred_at": occurred_at.astimezone(UTC).isoformat(),
        }
        if reservation_id is not None:
            report["reservation_id"] = reservation_id
        return await self._reports.add(report, idempotency_key)

    async def deliver_reports(self) -> int:
        """Delivers now, without waiting for the background task; returns how many were delivered.

        Raises Unreachable, Refused, NotActivated or StoreUnusable.
        """
        return await self._reports.deliver()

    async def waiting_reports(self) -> int:
        return await asyncio.to_thread(self._store.waiting)

    async def refused_reports(self) -> list[RefusedReport]:
        """Reports that the service refused for good. They stay until you retry or forget them."""
        return await asyncio.to_thread(self._store.refused)

    async def retry_refused(self, report: RefusedReport) -> None:
        """Delivers it again; call this when the cause of the refusal is gone."""
        await asyncio.to_thread(self._store.retry_refused, report.idempotency_key)
        self._reports.wake()

    async def forget_refused(self, report: RefusedReport) -> None:
        await asyncio.to_thread(self._store.forget_refused, report.idempotency_key)

    async def fetch_lease(self, license_key: str, *, fingerprint: str | None = None) -> bool:
        """Fetches a lease now, rather than after the next valid answer. True if a valid one is stored."""
        return await self._leases.fetch(license_key, fingerprint)

    async def _validate_some(self, questions: Sequence[Question]) -> list[Verdict]:
        def read(answer: dict[str, Any]) -> list[Verdict]:
            return [Verdict.of(item) for _, item in zip(questions, answer["items"], strict=True)]

        until = monotonic() + self._patience
        asked = {"items": [one.body() for one in questions]}
        try:
            verdicts = await self._post("validate-licenses", asked, read, within=self._for_asking)
        except Unreachable as failure:
            return [await self._from_lease(question, failure, until) for question in questions]
        for question, verdict in zip(questions, verdicts, strict=True):
            await self._leases.heard(question, verdict, until)
        return verdicts

    async def _from_lease(self, question: Question, failure: Unreachable, until: float) -> Verdict:
        verdict = await self._leases.answer(question, until)
        if verdict is None:
            raise failure
        return verdict

    async def _reserve(self, asked: dict[str, Any]) -> Hold | Declined:
        try:
            return await self._post("reserve", asked, Hold.of, idempotency_key=uuid4().hex)
        except Refused as refusal:
            if refusal.code != "reservation_ended":
                raise
        # An attempt whose answer was lost has made a hold, and that has run out. A new key makes a new one.
        return await self._post("reserve", asked, Hold.of, idempotency_key=uuid4().hex)

    async def _release(self, license_key: str, hold: Hold) -> None:
        """Frees the reservation early; one that is not released expires by itself."""
        asked = {"license_key": license_key, "reservation_id": hold.reservation_id}
        with suppress(BillingError, TimeoutError):
            async with asyncio.timeout(_RELEASE_WITHIN):
                await self._post("release", asked, lambda answer: answer["released"])

    async def _post(
        self, call: str, content: Any, read: Read[T], *, idempotency_key: str = "", within: float | None = None
    ) -> T:
        url = f"{self._validator_url}/api/v1/nextpanel/{call}"
        body = json.dumps(content).encode()
        return await self._ask.post(url, body, read, idempotency_key=idempotency_key, within=within)


def _is_a_key(idempotency_key: str) -> bool:
    return 0 < len(idempotency_key) <= _LONGEST_KEY and idempotency_key.isascii() and idempotency_key.isprintable()


def _delivery_ended(task: asyncio.Task[None]) -> None:
    """It ends by being cancelled only; any other end is told, for what is reported from now on stays where it is."""
    if not task.cancelled() and (fault := task.exception()) is not None:
        log.critical("usage reports are no longer delivered: %s", type(fault).__name__)
