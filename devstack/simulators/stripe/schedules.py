"""Subscription schedules: made from a running subscription, given phases, released."""

from itertools import pairwise
from typing import Any, Final

from stripe.params import (
    SubscriptionScheduleCreateParams,
    SubscriptionScheduleListParams,
    SubscriptionScheduleReleaseParams,
    SubscriptionScheduleRetrieveParams,
    SubscriptionScheduleUpdateParams,
)

from devstack.simulators.stripe import lifecycle, phases
from devstack.simulators.stripe.books import Books, Document, Params, equal, merge_metadata, new_id, nulls
from devstack.simulators.stripe.errors import invalid, not_simulated, wrong_state
from devstack.simulators.stripe.operations import Operations
from devstack.simulators.stripe.periods import duration_after

OPERATIONS = Operations()
_CREATE_NOT_SIMULATED: Final = (
    "customer customer_account phases start_date default_settings pause_schedules billing_mode"
)
_UPDATE_NOT_SIMULATED: Final = "default_settings pause_schedules"
_PHASE_NOT_SIMULATED: Final = (
    "add_invoice_items application_fee_percent automatic_tax billing_cycle_anchor billing_thresholds collection_method"
    " currency default_payment_method default_tax_rates description discounts invoice_settings on_behalf_of"
    " transfer_data trial trial_end"
)
_ITEM_NOT_SIMULATED: Final = "billing_thresholds discounts plan price_data tax_rates"


@OPERATIONS.post("/v1/subscription_schedules", SubscriptionScheduleCreateParams)
def create(books: Books, params: Params) -> Document:
    """With one phase: the subscription as it is, until the end of its period."""
    not_simulated(params, _CREATE_NOT_SIMULATED)
    if "from_subscription" not in params:
        raise invalid("This simulator makes schedules from a subscription only.", "from_subscription")
    subscription = books.fetch("subscription", params["from_subscription"], "from_subscription")
    if subscription["status"] in lifecycle.ENDED:
        raise wrong_state("You cannot schedule a subscription that has ended.", "subscription_canceled")
    if subscription["schedule"]:
        raise invalid(
            "You cannot migrate a subscription that is already attached to a schedule:"
            f" `{subscription['id']}` is attached to `{subscription['schedule']}`.",
            param="from_subscription",
        )
    schedule = _blank(books, subscription)
    schedule |= {
        "end_behavior": _end_behavior(params),
        "metadata": merge_metadata({}, params.get("metadata", {})),
    }
    books.emit("subscription_schedule.created", books.keep(schedule))
    subscription["schedule"] = schedule["id"]
    books.emit("customer.subscription.updated", books.keep(subscription), {"schedule": None})
    return schedule


def _blank(books: Books, subscription: Document) -> Document:
    item = subscription["items"]["data"][0]
    start, end = item["current_period_start"], item["current_period_end"]
    only = [{"price": item["price"]["id"], "quantity": item["quantity"], "metadata": {}}]
    settings = nulls("application_fee_percent billing_thresholds default_payment_method description")
    return {
        "id": new_id("sub_sched"),
        "object": "subscription_schedule",
        **nulls("application canceled_at completed_at customer_account released_at released_subscription"),
        "billing_mode": subscription["billing_mode"],
        "created": books.now(),
        "current_phase": {"start_date": start, "end_date": end},
        "customer": subscription["customer"],
        "default_settings": {
            **settings,
            **nulls("on_behalf_of transfer_data"),
            "automatic_tax": {**nulls("disabled_reason liability"), "enabled": False},
            "billing_cycle_anchor": "automatic",
            "collection_method": subscription["collection_method"],
            "invoice_settings": {
                **nulls("account_tax_ids custom_fields days_until_due description footer"),
                "issuer": {"type": "self"},
            },
        },
        "livemode": False,
        "pause_schedules": [],
        "phases": [_phase(subscription["currency"], only, start, end, "create_prorations")],
        "status": "active",
        "subscription": subscription["id"],
        "test_clock": subscription["test_clock"],
    }


def _phase(currency: str, items: list[Document], start: int, end: int, behavior: str) -> Document:
    blank = nulls("billing_thresholds")
    return {
        **nulls("application_fee_percent automatic_tax billing_cycle_anchor billing_thresholds collection_method"),
        **nulls("default_payment_method description invoice_settings on_behalf_of transfer_data trial_end"),
        "add_invoice_items": [],
        "currency": currency,
        "default_tax_rates": [],
        "discounts": [],
        "end_date": end,
        "items": [{**blank, **item, "plan": item["price"], "discounts": [], "tax_rates": []} for item in items],
        "metadata": {},
        "proration_behavior": behavior,
        "start_date": start,
    }


def _end_behavior(params: Params, before: str = "release") -> str:
    wanted: str = params.get("end_behavior", before)
    if wanted != "release":
        raise invalid(
            "This simulator carries out end_behavior=release only.", "end_behavior", "parameter_not_simulated"
        )
    return wanted


@OPERATIONS.post("/v1/subscription_schedules/{schedule}", SubscriptionScheduleUpdateParams)
def update(books: Books, params: Params, schedule_id: str) -> Document:
    not_simulated(params, _UPDATE_NOT_SIMULATED)
    schedule = _running(books, schedule_id)
    schedule["end_behavior"] = _end_behavior(params, schedule["end_behavior"])
    if "metadata" in params:
        schedule["metadata"] = merge_metadata(schedule["metadata"], params["metadata"])
    if "phases" in params:
        schedule["phases"] = _row(books, schedule, params["phases"])
    books.emit("subscription_schedule.updated", books.keep(schedule))
    return schedule


def _row(books: Books, schedule: Document, wanted: list[Params]) -> list[Document]:
    """The phases as asked for; the first is the current one, each other begins where the one before it ends."""
    currency = schedule["phases"][0]["currency"]
    row: list[Document] = []
    for position, phase in enumerate(wanted):
        at = f"phases[{position}]"
        not_simulated(phase, _PHASE_NOT_SIMULATED)
        start = row[-1]["end_date"] if row else schedule["current_phase"]["start_date"]
        if phase.get("start_date", start) != start:
            raise invalid("A phase begins where the one before it ends.", param=f"{at}[start_date]")
        items = [_item(books, item, f"{at}[items][{number}]") for number, item in enumerate(phase["items"])]
        end = _end(phase, start, at)
        row.append(_phase(currency, items, start, end, phase.get("proration_behavior", "create_prorations")))
    if not row or any(after["start_date"] != before["end_date"] for before, after in pairwise(row)):
        raise invalid("A schedule needs phases.", param="phases")
    _expect_current(schedule, row[0])
    return row


def _expect_current(schedule: Document, first: Document) -> None:
    """Changing what runs now would prorate: that is an update of the subscription, and simulated there."""
    now = schedule["phases"][0]
    same = all(first["items"][0][name] == now["items"][0][name] for name in ("price", "quantity"))
    if not same or first["end_date"] != schedule["current_phase"]["end_date"]:
        raise invalid("This simulator does not change the current phase.", "phases[0]", "parameter_not_simulated")


def _item(books: Books, item: Params, at: str) -> Document:
    not_simulated(item, _ITEM_NOT_SIMULATED)
    price = books.fetch("price", item.get("price", ""), f"{at}[price]")
    return {"price": price["id"], "quantity": item.get("quantity", 1), "metadata": item.get("metadata") or {}}


def _end(phase: Params, start: int, at: str) -> int:
    if "end_date" in phase:
        return int(phase["end_date"])
    duration: Any = phase.get("duration")
    if not duration:
        raise invalid("A phase needs an end_date or a duration.", param=f"{at}[end_date]", code="parameter_missing")
    return duration_after(start, duration["interval"], duration.get("interval_count", 1))


@OPERATIONS.get("/v1/subscription_schedules", SubscriptionScheduleListParams)
def list_all(books: Books, params: Params) -> Document:
    return books.page("subscription_schedule", "/v1/subscription_schedules", params, *equal(params, "customer"))


@OPERATIONS.get("/v1/subscription_schedules/{schedule}", SubscriptionScheduleRetrieveParams)
def retrieve(books: Books, _params: Params, schedule_id: str) -> Document:
    return books.fetch("subscription_schedule", schedule_id)


@OPERATIONS.post("/v1/subscription_schedules/{schedule}/release", SubscriptionScheduleReleaseParams)
def release(books: Books, _params: Params, schedule_id: str) -> Document:
    schedule = _running(books, schedule_id)
    subscription = books.fetch("subscription", schedule["subscription"])
    phases.release(books, schedule, subscription)
    books.emit("customer.subscription.updated", subscription, {"schedule": schedule_id})
    return schedule


def _running(books: Books, schedule_id: str) -> Document:
    schedule = books.fetch("subscription_schedule", schedule_id)
    if schedule["status"] not in phases.RUNNING:
        raise wrong_state(
            f"You cannot change a subscription schedule that is {schedule['status']}.",
            "subscription_schedule_not_active",
        )
    return schedule
