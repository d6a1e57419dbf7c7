"""Stripe's books: every object, and every event in the order in which it is told.

An object is a JSON document under its `object` name and id, in the shape the API shows; names that begin with an
underscore are the simulator's own notes and never leave it. An event holds a copy of its object as it was at that
moment. Events are told in the order in which Stripe was observed to tell them, not in the order of the work here:
`in_order` takes such an order and sorts by it what was emitted inside.

Work on an object that is bound to a test clock lives in that clock's time until it is done.
"""

import secrets
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
import stripe

from core.clock import unix_time
from devstack.simulators.journal import Collection, Journal, Where
from devstack.simulators.stripe.errors import Refused, invalid, no_such

Document = dict[str, Any]
Params = Mapping[str, Any]

T = TypeVar("T")

API_VERSION: Final = stripe.api_version
LOOKED_FOR: Final = ("$.customer", "$.invoice", "$.payment.payment_intent", "$.lookup_key", "$.url", "$.test_clock")
TEST_CLOCK: Final = "test_helpers.test_clock"
DEFAULT_PAGE: Final = 10
LARGEST_PAGE: Final = 100
_ALPHABET: Final = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Cause:
    """The request that an event is a consequence of; both are null for what happens by itself."""

    request_id: str | None = None
    idempotency_key: str | None = None


class Books:
    def __init__(self, journal: Journal, public_url: str) -> None:
        self.journal = journal
        self.public_url = public_url
        self.cause = Cause()
        self.announce: Callable[[Document], None] = lambda _event: None
        """Called with each new event, inside the transaction that wrote it."""
        for path in LOOKED_FOR:
            journal.index(path)
        self._collections: dict[str, Collection[Document]] = {}
        self._held_back: list[tuple[str, Document, Document | None]] | None = None
        self._instant: int | None = None
        self._working = False

    def now(self) -> int:
        return int(unix_time()) if self._instant is None else self._instant

    @contextmanager
    def at(self, instant: int | None) -> Iterator[None]:
        """Inside it is that instant; None: the real time, until an object of a test clock is touched."""
        before = (self._instant, self._working)
        self._instant, self._working = instant, True
        try:
            yield
        finally:
            self._instant, self._working = before

    def collection(self, kind: str) -> Collection[Document]:
        if kind not in self._collections:
            self._collections[kind] = self.journal.collection(kind, Document)
        return self._collections[kind]

    def find(self, kind: str, object_id: str) -> Document | None:
        return self.collection(kind).get(object_id)

    def fetch(self, kind: str, object_id: str, param: str | None = None) -> Document:
        """The object, or Stripe's refusal; `param` is the parameter that names it, None if the address does."""
        found = self.find(kind, object_id)
        if found is None or (param and found.get("deleted")):
            raise no_such(kind, object_id, param)
        if self._working and self._instant is None and (clock := found.get("test_clock")):
            self._instant = self.fetch(TEST_CLOCK, clock)["frozen_time"]
        return found

    def keep(self, document: Document) -> Document:
        self.collection(document["object"]).put(document["id"], document)
        return document

    def all(self, kind: str, *conditions: Where) -> list[Document]:
        return self.collection(kind).all(*conditions)

    def page(self, kind: str, url: str, params: Params, *conditions: Where) -> Document:
        """Stripe's list envelope, newest first, by cursor."""
        limit = params.get("limit", DEFAULT_PAGE)
        if not 1 <= limit <= LARGEST_PAGE:
            raise invalid("This value must be between 1 and 100.", param="limit")
        for cursor in ("starting_after", "ending_before"):
            if cursor in params:
                self.fetch(kind, params[cursor], cursor)
        found = self.collection(kind).newest(
            *conditions,
            *_created(params.get("created")),
            older_than=params.get("starting_after"),
            newer_than=params.get("ending_before"),
            limit=limit + 1,
        )
        more = len(found) > limit
        data = found[-limit:] if "ending_before" in params else found[:limit]
        return a_list(url, data, has_more=more)

    def carry_out(self, work: Callable[[], T]) -> T | Refused:
        """Do the work in one transaction. A refusal is given back, and undoes it unless it keeps its effects."""
        try:
            with self.journal.transaction(), self.at(None):
                try:
                    return work()
                except Refused as refusal:
                    if refusal.keeps_effects:
                        return refusal
                    raise
        except Refused as refusal:
            return refusal

    @contextmanager
    def only_looking(self) -> Iterator[None]:
        """What is done inside shows what would come of it, and then leaves neither documents nor events behind."""
        held, self._held_back = self._held_back, []
        try:
            with suppress(_Undone), self.journal.transaction():
                yield
                raise _Undone
        finally:
            self._held_back = held

    def emit(self, kind: str, document: Document, previous: Document | None = None) -> None:
        """Tell that something happened to `document`; `previous` holds the changed fields as they were."""
        snapshot = msgspec.json.decode(msgspec.json.encode(public(document)))
        if self._held_back is None:
            self._write_event(kind, snapshot, previous)
        else:
            self._held_back.append((kind, snapshot, previous))

    @contextmanager
    def in_order(self, order: Sequence[str]) -> Iterator[None]:
        """Events emitted inside are told in this order at the end, also when a refusal that keeps its effects ends it.

        Kinds that the order does not name come last; those of one kind stay as they were. The outermost order counts.
        """
        if self._held_back is not None:
            yield
            return
        self._held_back = []
        try:
            yield
        finally:
            held, self._held_back = self._held_back, None
            rank = {kind: position for position, kind in enumerate(order)}
            for kind, snapshot, previous in sorted(held, key=lambda event: rank.get(event[0], len(rank))):
                self._write_event(kind, snapshot, previous)

    def _write_event(self, kind: str, snapshot: Document, previous: Document | None) -> None:
        data = {"object": snapshot} | ({"previous_attributes": previous} if previous else {})
        event = {
            "id": new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now(),
            "data": data,
            "livemode": False,
            "pending_webhooks": 0,
            "request": {"id": self.cause.request_id, "idempotency_key": self.cause.idempotency_key},
            "type": kind,
        }
        self.keep(event)
        self.announce(event)


class _Undone(Exception):
    """Rolls a transaction back whose outcome has been seen."""


def new_id(prefix: str, length: int = 24) -> str:
    return f"{prefix}_{random_text(length)}"


def random_text(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def public(document: Document) -> Document:
    return {name: value for name, value in document.items() if not name.startswith("_")}


def nulls(names: str) -> Document:
    """Fields that are always on the wire and have nothing to say here."""
    return dict.fromkeys(names.split())


def an_address(given: Params | None) -> Document:
    """Every line of it, null where it was not given."""
    empty = nulls("city country line1 line2 postal_code state")
    return empty | {name: line or None for name, line in (given or {}).items()}


def a_list(url: str, data: Sequence[Document], *, has_more: bool = False) -> Document:
    return {"object": "list", "data": list(data), "has_more": has_more, "url": url}


def equal(params: Params, *names: str) -> list[Where]:
    """A condition for each of the named parameters that was given and filters by the field of its own name."""
    return [Where(f"$.{name}", params[name]) for name in names if name in params]


def _created(wanted: Any) -> list[Where]:
    if wanted is None:
        return []
    if isinstance(wanted, int):
        return [Where("$.created", wanted)]
    operators: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
    return [Where("$.created", instant, operators[name]) for name, instant in wanted.items()]  # type: ignore[arg-type]  # the mapping's values are operators


def merge_metadata(present: Mapping[str, str] | None, changes: Any) -> dict[str, str]:
    """Stripe's rule: an empty value removes its key, an empty set removes all."""
    if changes == "":
        return {}
    merged = {**(present or {}), **changes}
    return {key: value for key, value in merged.items() if value != ""}


def apply_changes(document: Document, params: Params, names: str) -> Document:
    """Set the named fields that were given (`''` unsets one); returns what they were, for `previous_attributes`."""
    previous: Document = {}
    for name in names.split():
        if name not in params:
            continue
        value = merge_metadata(document[name], params[name]) if name == "metadata" else params[name]
        value = None if value == "" else value
        if document.get(name) != value:
            previous[name] = document.get(name)
            document[name] = value
    return previous
