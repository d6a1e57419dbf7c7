"""Subscription schedules: a subscription takes the next phase's items at the end of a period.

A schedule is a row of phases without gaps. Only those that begin where a period of the subscription ends are simulated,
which is what a change "at period end" needs; whatever else a phase could say is refused when it is asked for.
"""

from devstack.simulators.stripe.books import Books, Document
from devstack.simulators.stripe.catalogue import plan_of
from devstack.simulators.stripe.prorations import interval_of

RUNNING = ("active", "not_started")


def turn(books: Books, subscription: Document, at: int) -> list[Document] | None:
    """The items for the phase that begins `at`, without their new periods; None where none begins.

    A schedule past its last phase lets its subscription go.
    """
    schedule = books.find("subscription_schedule", subscription["schedule"] or "")
    if schedule is None:
        return None
    begins = next((phase for phase in schedule["phases"] if phase["start_date"] == at), None)
    if begins is None:
        if at >= schedule["phases"][-1]["end_date"]:
            release(books, schedule, subscription)
        return None
    schedule["current_phase"] = {name: begins[name] for name in ("start_date", "end_date")}
    books.emit("subscription_schedule.updated", books.keep(schedule))
    item = subscription["items"]["data"][0]
    price = books.fetch("price", begins["items"][0]["price"])
    if interval_of(price) != interval_of(item["price"]):
        subscription["billing_cycle_anchor"] = at
    quantity = begins["items"][0]["quantity"]
    return [{**item, "price": price, "plan": plan_of(price), "quantity": quantity}]


def release(books: Books, schedule: Document, subscription: Document) -> None:
    """The subscription runs on as it is, by itself."""
    schedule |= {
        "current_phase": None,
        "released_at": books.now(),
        "released_subscription": subscription["id"],
        "status": "released",
        "subscription": None,
    }
    books.emit("subscription_schedule.released", books.keep(schedule))
    subscription["schedule"] = None
    books.keep(subscription)
