"""Stripe's part of the `/_sim` API: webhooks and how they are delivered, customers' time and cards."""

from collections.abc import Callable

import msgspec
from litestar import Response, delete, get, post
from litestar.types import ControllerRouterHandler

from devstack.simulators.journal import Where
from devstack.simulators.stripe import account, clocks, disputes, payment_methods, refunds
from devstack.simulators.stripe.books import Books, Document, public
from devstack.simulators.stripe.deliveries import Courier, Delivery, Modes
from devstack.simulators.stripe.errors import Refused


class Again(msgspec.Struct, forbid_unknown_fields=True):
    """One event, or with `all` every event there ever was."""

    event: str | None = None
    all: bool = False


class Ahead(msgspec.Struct, forbid_unknown_fields=True):
    """How far: so many seconds after the end of the period that runs now; absent, no further than it is."""

    after_period: int | None = None


class Disputed(msgspec.Struct, forbid_unknown_fields=True):
    """The bank disputes a charge, asks about it first, or has settled it before it came to that."""

    charge: str
    kind: disputes.Kind = "chargeback"
    reason: str = "fraudulent"


class Decision(msgspec.Struct, forbid_unknown_fields=True):
    outcome: disputes.Outcome


class Wallet(msgspec.Struct, forbid_unknown_fields=True):
    payment_method: str


def routes(books: Books, courier: Courier) -> list[ControllerRouterHandler]:
    return [*_webhook_routes(books, courier), *_customer_routes(books), *_account_routes(books), *_bank_routes(books)]


def _bank_routes(books: Books) -> list[ControllerRouterHandler]:
    """What banks do by themselves: dispute a charge, decide a dispute, settle a refund."""

    @post("/_sim/disputes", status_code=200)
    async def dispute(data: Disputed) -> Response[Document]:
        return _carried_out(
            books, lambda: disputes.begin(books, books.fetch("charge", data.charge), data.reason, data.kind)
        )

    @post("/_sim/disputes/{dispute_id:str}", status_code=200)
    async def decide(dispute_id: str, data: Decision) -> Response[Document]:
        return _carried_out(books, lambda: disputes.decide(books, books.fetch("dispute", dispute_id), data.outcome))

    @post("/_sim/refunds/{refund_id:str}/settle", status_code=200)
    async def settle(refund_id: str) -> Response[Document]:
        """At once what time would bring: a refund that was pending arrives, one that will fail fails."""
        return _carried_out(books, lambda: refunds.settle(books, books.fetch("refund", refund_id)))

    return [dispute, decide, settle]


def _account_routes(books: Books) -> list[ControllerRouterHandler]:
    @get("/_sim/account")
    async def settings() -> account.Collection:
        return account.collection_settings(books)

    @post("/_sim/account", status_code=200)
    async def change_settings(data: account.Collection) -> account.Collection:
        """How failed payments are tried again, and what happens after the last try."""
        with books.journal.transaction():
            account.change_collection(books, data)
        return data

    return [settings, change_settings]


def _customer_routes(books: Books) -> list[ControllerRouterHandler]:
    """What happens to a customer outside of Stripe: named by id or by e-mail address, and no key is asked for."""

    @post("/_sim/customers/{customer:str}/test_clock", status_code=200)
    async def pass_time(customer: str, data: Ahead) -> Response[Document]:
        """From now on this customer's time stands still, until it is moved here or by the API of test clocks."""
        return _carried_out(books, lambda: clocks.move(books, _named(books, customer), data.after_period))

    @post("/_sim/customers/{customer:str}/card", status_code=200)
    async def change_card(customer: str, data: Wallet) -> Response[Document]:
        """Whatever is charged from now on is charged to this card."""
        return _carried_out(books, lambda: _use(books, _named(books, customer), data.payment_method))

    return [pass_time, change_card]


def _carried_out(books: Books, work: Callable[[], Document]) -> Response[Document]:
    outcome = books.carry_out(work)
    if isinstance(outcome, Refused):
        return Response({"detail": str(outcome)}, status_code=outcome.status)
    return Response(public(outcome))


def _named(books: Books, customer: str) -> str:
    found = books.all("customer", Where("$.email", customer))
    return str(found[-1]["id"]) if found else customer


def _use(books: Books, customer_id: str, reference: str) -> Document:
    customer = books.fetch("customer", customer_id)
    method = payment_methods.attach(books, payment_methods.usable(books, reference), customer_id)
    customer["invoice_settings"]["default_payment_method"] = method["id"]
    for subscription in books.all("subscription", Where("$.customer", customer_id)):
        books.keep({**subscription, "default_payment_method": method["id"]})
    return books.keep(customer)


def _webhook_routes(books: Books, courier: Courier) -> list[ControllerRouterHandler]:
    @get("/_sim/webhooks")
    async def modes() -> Modes:
        return courier.modes

    @post("/_sim/webhooks", status_code=200)
    async def change_modes(data: Modes) -> Modes:
        courier.change_modes(data)
        return courier.modes

    @delete("/_sim/webhooks")
    async def reset_modes() -> None:
        courier.change_modes(Modes())

    @post("/_sim/webhooks/redeliver", status_code=200)
    async def redeliver(data: Again) -> Response[Document]:
        events = (
            books.all("event") if data.all else [found for found in [books.find("event", data.event or "")] if found]
        )
        if not events and not data.all:
            return Response({"detail": f"there is no event {data.event}"}, status_code=404)
        with books.journal.transaction():
            count = sum(courier.redeliver(event) for event in events)
        return Response({"deliveries": count})

    @get("/_sim/deliveries")
    async def deliveries(event: str | None = None) -> dict[str, list[Delivery]]:
        """Oldest first."""
        return {"items": [one for one in courier.deliveries.all() if event in (None, one.event_id)]}

    return [modes, change_modes, reset_modes, redeliver, deliveries]
