"""Webhook deliveries: signed, retried until they are taken, and on request late, doubled, shuffled, lost or stale.

A delivery is written in the transaction that wrote its event, so a killed simulator owes it still and pays after its
restart. Deliveries go out in the order of their events, copies of one event together; one that is not answered within
PATIENCE is not waited for, so a slow receiver gets events side by side, as it would from Stripe.
"""

import asyncio
import hashlib
import hmac
import random
import traceback
from heapq import heappop, heappush
from typing import Final, Literal

import httpx
import msgspec

from core.clock import unix_time
from devstack.simulators.stripe.books import API_VERSION, Books, Document, new_id
from devstack.simulators.stripe.versions import rendered
from devstack.simulators.stripe.webhooks import listening

PATIENCE: Final = 0.5
TIMEOUT: Final = 10.0
LONGEST_BACKOFF: Final = 10.0
SHUFFLE_WINDOW: Final = 0.3
STALE_BY: Final = 3600
_ATTEMPTS_SHOWN: Final = 50
_NEXT_LOOK: Final = 0.001
_AFTER_A_FAULT: Final = 1.0


class Modes(msgspec.Struct, forbid_unknown_fields=True):
    """How events that happen from now on are delivered."""

    duplicate: int = 0
    """So many more copies of each."""
    reorder: bool = False
    seed: int | None = None
    delay_ms: int = 0
    drop: int = 0
    """So many of the next deliveries are lost; `redeliver` brings them."""
    stale_timestamp: bool = False
    api_version: str | None = None
    """Instead of each endpoint's own."""


class Attempt(msgspec.Struct):
    at: float
    status: int | None
    error: str | None = None


class Delivery(msgspec.Struct):
    id: str
    event_id: str
    event_type: str
    endpoint_id: str
    url: str
    due: float
    state: Literal["pending", "delivered", "dropped", "cancelled"] = "pending"
    tries: int = 0
    attempts: list[Attempt] = []
    stale: bool = False
    api_version: str | None = None


class Courier:
    def __init__(self, books: Books, *, first_backoff: float, delay_ms: int) -> None:
        self._books = books
        self._first_backoff = first_backoff
        self._default_delay_ms = delay_ms
        self.deliveries = books.journal.collection("deliveries", Delivery)
        self._waiting: list[tuple[float, int, str]] = []
        self._counter = 0
        self._in_flight: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self.modes = Modes()
        self.change_modes(Modes())
        for delivery in self.deliveries.all():
            if delivery.state == "pending":
                self._queue(delivery)

    def change_modes(self, modes: Modes) -> None:
        self.modes = modes
        self._shuffle = random.Random(modes.seed)  # noqa: S311  # a shuffle that a test can repeat, no secret

    def announce(self, event: Document) -> None:
        """Owe the event to every endpoint that wants it; inside the transaction that writes it."""
        endpoints = listening(self._books, event["type"])
        for endpoint in endpoints:
            for _ in range(1 + self.modes.duplicate):
                self._owe(event, endpoint)
        if endpoints:
            self._books.keep({**event, "pending_webhooks": len(endpoints)})

    @property
    def announced(self) -> int:
        """Deliveries there have been; it only rises."""
        return self._counter

    @property
    def owed(self) -> int:
        """Deliveries that are due or under way."""
        now = unix_time()
        return len(self._in_flight) + sum(due <= now for due, _, _ in self._waiting)

    async def delivered(self, within: float) -> None:
        """Returns when none is due or under way, or after so many seconds."""
        gives_up = asyncio.get_running_loop().time() + within
        while self.owed and (left := gives_up - asyncio.get_running_loop().time()) > 0:
            if self._in_flight:
                await asyncio.wait(self._in_flight, timeout=left)
            else:
                await asyncio.sleep(_NEXT_LOOK)

    def next_due(self) -> float | None:
        return self._waiting[0][0] if self._waiting else None

    def look(self) -> None:
        """Time has moved: what waits may be due."""
        self._news.set()

    def redeliver(self, event: Document) -> int:
        """Once more to every endpoint, at once; returns to how many."""
        endpoints = listening(self._books, event["type"])
        for endpoint in endpoints:
            self._keep(self._new(event, endpoint, unix_time()))
        return len(endpoints)

    def _owe(self, event: Document, endpoint: Document) -> None:
        due = unix_time() + (self.modes.delay_ms or self._default_delay_ms) / 1000
        if self.modes.reorder:
            due += self._shuffle.uniform(0, SHUFFLE_WINDOW)
        delivery = self._new(event, endpoint, due)
        if self.modes.drop:
            self.modes.drop -= 1
            delivery.state = "dropped"
        self._keep(delivery)

    def _new(self, event: Document, endpoint: Document, due: float) -> Delivery:
        return Delivery(
            id=new_id("dlv"),
            event_id=event["id"],
            event_type=event["type"],
            endpoint_id=endpoint["id"],
            url=endpoint["url"],
            due=due,
            stale=self.modes.stale_timestamp,
            api_version=self.modes.api_version,
        )

    def _keep(self, delivery: Delivery) -> None:
        self.deliveries.put(delivery.id, delivery)
        if delivery.state == "pending":
            self._queue(delivery)

    def _queue(self, delivery: Delivery) -> None:
        self._counter += 1
        heappush(self._waiting, (delivery.due, self._counter, delivery.id))
        self._news.set()

    async def run(self) -> None:
        """Deliver for ever."""
        # A receiver under development has a certificate of its own making, if any; the signature is what counts.
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False, verify=False) as client:  # noqa: S501  as said
            while True:
                try:
                    await self._work_off(client)
                except Exception:  # noqa: BLE001  nobody would start it again: what is owed would be owed for ever
                    traceback.print_exc()
                    await asyncio.sleep(_AFTER_A_FAULT)

    async def _work_off(self, client: httpx.AsyncClient) -> None:
        self._news.clear()
        while batch := self._due():
            tasks = {asyncio.create_task(self._deliver_surely(client, delivery)) for delivery in batch}
            self._in_flight |= tasks
            for task in tasks:
                task.add_done_callback(self._in_flight.discard)
            await asyncio.wait(tasks, timeout=PATIENCE)
        await self._until_due()

    async def _deliver_surely(self, client: httpx.AsyncClient, delivery: Delivery) -> None:
        """One whose outcome cannot be written down, for a full disk, is owed still."""
        try:
            await self._deliver(client, delivery)
        except Exception:  # noqa: BLE001  a fault of the simulator's own belongs on the terminal of the person who runs it
            traceback.print_exc()
            delivery.state, delivery.due = "pending", unix_time() + _AFTER_A_FAULT
            self._queue(delivery)

    def _due(self) -> list[Delivery]:
        """The next event's deliveries, all copies that are due."""
        batch: list[Delivery] = []
        while self._waiting and self._waiting[0][0] <= unix_time():
            delivery = self.deliveries.get(self._waiting[0][2])
            if delivery is not None and batch and batch[0].event_id != delivery.event_id:
                break
            heappop(self._waiting)
            if delivery is not None:
                batch.append(delivery)
        return batch

    async def _until_due(self) -> None:
        timeout = max(self._waiting[0][0] - unix_time(), 0) if self._waiting else None
        try:
            async with asyncio.timeout(timeout):
                await self._news.wait()
        except TimeoutError:
            return

    async def _deliver(self, client: httpx.AsyncClient, delivery: Delivery) -> None:
        endpoint = self._books.find("webhook_endpoint", delivery.endpoint_id)
        event = self._books.find("event", delivery.event_id)
        if endpoint is None or event is None or endpoint["status"] != "enabled":
            delivery.state = "cancelled"
            self._keep(delivery)
            return
        attempt = await self._send(client, delivery, endpoint, event)
        delivery.tries += 1
        delivery.attempts = [*delivery.attempts, attempt][-_ATTEMPTS_SHOWN:]
        if attempt.status is not None and 200 <= attempt.status < 300:
            delivery.state = "delivered"
        else:
            backoff = self._first_backoff * 2 ** min(delivery.tries - 1, 16)
            delivery.due = unix_time() + min(backoff, LONGEST_BACKOFF)
        self._keep(delivery)

    async def _send(
        self, client: httpx.AsyncClient, delivery: Delivery, endpoint: Document, event: Document
    ) -> Attempt:
        version = delivery.api_version or endpoint["api_version"] or API_VERSION
        body = msgspec.json.format(msgspec.json.encode(rendered(self._books, event, version)), indent=2)
        at = unix_time()
        timestamp = int(at) - (STALE_BY if delivery.stale else 0)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature(body, endpoint["_secret"], timestamp),
        }
        try:
            answer = await client.post(endpoint["url"], content=body, headers=headers)
        except (httpx.HTTPError, OSError) as fault:
            return Attempt(at, None, type(fault).__name__)
        return Attempt(at, answer.status_code)


def signature(body: bytes, secret: str, timestamp: int) -> str:
    """`t=…,v1=…,v0=…`; v0 is what Stripe sends in test mode to see whether anybody takes the wrong one."""
    signed = str(timestamp).encode() + b"." + body
    v1 = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    v0 = hmac.new(b"v0 is never valid", signed, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={v1},v0={v0}"
