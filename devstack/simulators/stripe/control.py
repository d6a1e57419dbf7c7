"""Stripe's part of the `/_sim` API: how webhooks are delivered, what was delivered and again, customers' time."""

import msgspec
from litestar import Response, delete, get, post
from litestar.types import ControllerRouterHandler

from devstack.simulators.stripe import clocks
from devstack.simulators.stripe.books import Books, Document
from devstack.simulators.stripe.deliveries import Courier, Delivery, Modes
from devstack.simulators.stripe.errors import Refused


class Again(msgspec.Struct, forbid_unknown_fields=True):
    """One event, or with `all` every event there ever was."""

    event: str | None = None
    all: bool = False


def routes(books: Books, courier: Courier) -> list[ControllerRouterHandler]:
    return [*_webhook_routes(books, courier), _adopting(books)]


def _adopting(books: Books) -> ControllerRouterHandler:
    @post("/_sim/customers/{customer_id:str}/test_clock", status_code=200)
    async def adopt(customer_id: str) -> Response[Document]:
        """From now on this customer's time stands still until its clock is advanced; Stripe has no such call."""
        outcome = books.carry_out(lambda: clocks.adopt(books, customer_id))
        if isinstance(outcome, Refused):
            return Response({"detail": str(outcome)}, status_code=outcome.status)
        return Response(outcome)

    return adopt


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
