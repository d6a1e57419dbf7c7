"""Test clocks: the time of some customers, which stands still until it is advanced.

Whatever belongs to a customer of a clock belongs to the clock. Advancing does all that falls due meanwhile, in order
of time, before it answers; so the answer's status is `ready`, where Stripe's would be `advancing` for a moment first.
"""

from typing import Final

from stripe.params.test_helpers import (
    TestClockAdvanceParams,
    TestClockCreateParams,
    TestClockDeleteParams,
    TestClockListParams,
    TestClockRetrieveParams,
)

from devstack.simulators.journal import Where
from devstack.simulators.stripe import cycles
from devstack.simulators.stripe.books import TEST_CLOCK, Books, Document, Params, new_id
from devstack.simulators.stripe.errors import invalid
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
_LIVES_FOR: Final = 30 * 24 * 3600
_PATH: Final = "/v1/test_helpers/test_clocks"
_BOUND: Final = ("customer", "subscription", "invoice", "invoiceitem", "subscription_schedule")


@OPERATIONS.post(_PATH, TestClockCreateParams)
def create(books: Books, params: Params) -> Document:
    return start(books, params["frozen_time"], params.get("name"))


def start(books: Books, frozen_time: int, name: str | None) -> Document:
    now = books.now()
    clock = {
        "id": new_id("clock"),
        "object": TEST_CLOCK,
        "created": now,
        "deletes_after": now + _LIVES_FOR,
        "frozen_time": frozen_time,
        "livemode": False,
        "name": name,
        "status": "ready",
        "status_details": {},
    }
    books.emit("test_helpers.test_clock.created", books.keep(clock))
    return clock


def adopt(books: Books, customer_id: str) -> Document:
    """A clock that stands at this moment, for a customer of the real time and for all that is the customer's."""
    customer = books.fetch("customer", customer_id)
    if customer["test_clock"]:
        return books.fetch(TEST_CLOCK, customer["test_clock"])
    clock = start(books, books.now(), f"adopted {customer_id}")
    books.keep({**customer, "test_clock": clock["id"]})
    for kind in _BOUND[1:]:
        for document in books.all(kind, Where("$.customer", customer_id)):
            books.keep({**document, "test_clock": clock["id"]})
    return clock


def move(books: Books, customer_id: str, after_period: int | None) -> Document:
    """The customer's clock, so many seconds after the end of the first period to end, or as it is."""
    clock = adopt(books, customer_id)
    if after_period is None:
        return clock
    running = books.all("subscription", Where("$.customer", customer_id), Where("$.ended_at", None, "IS"))
    ends = [item["current_period_end"] for one in running for item in one["items"]["data"]]
    if not ends:
        raise invalid("This customer has no subscription whose period could end.", param="after_period")
    return advance(books, {"frozen_time": min(ends) + after_period}, clock["id"])


@OPERATIONS.get(_PATH, TestClockListParams)
def list_all(books: Books, params: Params) -> Document:
    return books.page(TEST_CLOCK, _PATH, params)


@OPERATIONS.get(_PATH + "/{clock}", TestClockRetrieveParams)
def retrieve(books: Books, _params: Params, clock_id: str) -> Document:
    return books.fetch(TEST_CLOCK, clock_id)


@OPERATIONS.post(_PATH + "/{clock}/advance", TestClockAdvanceParams)
def advance(books: Books, params: Params, clock_id: str) -> Document:
    clock = books.fetch(TEST_CLOCK, clock_id)
    target = params["frozen_time"]
    if target <= clock["frozen_time"]:
        raise invalid("A test clock can only be advanced to a later time.", param="frozen_time")
    clock |= {"status": "advancing", "status_details": {"advancing": {"target_frozen_time": target}}}
    books.emit("test_helpers.test_clock.advancing", books.keep(clock))
    cycles.carry_on(books, clock_id, target)
    clock |= {"frozen_time": target, "status": "ready", "status_details": {}}
    books.emit("test_helpers.test_clock.ready", books.keep(clock))
    return clock


@OPERATIONS.delete(_PATH + "/{clock}", TestClockDeleteParams)
def delete(books: Books, _params: Params, clock_id: str) -> Document:
    """Its customers go with it, and all that was theirs."""
    clock = books.fetch(TEST_CLOCK, clock_id)
    for kind in _BOUND:
        for document in books.all(kind, Where("$.test_clock", clock_id)):
            books.collection(kind).remove(document["id"])
    books.collection(TEST_CLOCK).remove(clock_id)
    books.emit("test_helpers.test_clock.deleted", clock)
    return {"id": clock_id, "object": TEST_CLOCK, "deleted": True}
