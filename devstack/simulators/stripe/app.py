"""The wiring: the table of operations as routes, the hosted pages, the `/_sim` API, and the courier beside them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from litestar import Litestar, Request, Response, route
from litestar.exceptions import HTTPException
from litestar.types import ControllerRouterHandler

from core.clock import MovedClock
from devstack.simulators.asgi import Application
from devstack.simulators.journal import Journal
from devstack.simulators.stand_in import stand_in
from devstack.simulators.stripe import (
    account,
    catalogue,
    changing,
    charges,
    checkout,
    clocks,
    control,
    credit_notes,
    customer_balance,
    customers,
    discounts,
    disputes,
    hosted,
    invoice_operations,
    invoice_page,
    payment_methods,
    payment_operations,
    payment_pages,
    previewing,
    promotion_codes,
    refunds,
    schedules,
    setup_intents,
    subscriptions,
    tax_ids,
    time_control,
    webhooks,
)
from devstack.simulators.stripe.account import AfterRetries
from devstack.simulators.stripe.books import Books, Document
from devstack.simulators.stripe.deliveries import Courier
from devstack.simulators.stripe.endpoint import AnyRequest, Endpoint
from devstack.simulators.stripe.errors import envelope
from devstack.simulators.stripe.moving import Mover
from devstack.simulators.stripe.operations import Operation

FAMILIES: Final = (
    account,
    catalogue,
    changing,
    charges,
    checkout,
    clocks,
    credit_notes,
    customer_balance,
    customers,
    discounts,
    disputes,
    promotion_codes,
    invoice_operations,
    payment_methods,
    payment_operations,
    payment_pages,
    previewing,
    refunds,
    schedules,
    setup_intents,
    subscriptions,
    tax_ids,
    webhooks,
)
OPERATIONS: Final[tuple[Operation, ...]] = tuple(operation for family in FAMILIES for operation in family.OPERATIONS)


def application(
    journal: Journal,
    *,
    api_key: str,
    public_url: str,
    after_retries: AfterRetries | None = None,
    webhook: tuple[str, str] | None = None,
    webhook_delay_ms: int = 0,
    webhook_backoff: float = 0.2,
    moved: tuple[MovedClock, Path, str] | None = None,
) -> Application:
    """`webhook` is the address and secret of an endpoint that is there from the start; `moved` is for a Mover."""
    books = Books(journal, public_url)
    if after_retries:
        account.begin_with(books, after_retries)
    if webhook:
        webhooks.ensure(books, *webhook)
    courier = Courier(books, first_backoff=webhook_backoff, delay_ms=webhook_delay_ms)
    books.announce = courier.announce

    @asynccontextmanager
    async def delivering(_app: Litestar) -> AsyncIterator[None]:
        task = asyncio.create_task(courier.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    endpoint = Endpoint(books, api_key)
    return stand_in(
        [
            *(_served(operation, endpoint) for operation in OPERATIONS),
            *hosted.routes(books),
            *invoice_page.routes(books),
            *control.routes(books, courier),
            *time_control.routes(Mover(books, courier, *moved) if moved else None),
        ],
        default_error=envelope,
        lifespan=[delivering],
        handlers={HTTPException: _not_served},
    )


def _served(operation: Operation, endpoint: Endpoint) -> ControllerRouterHandler:
    @route(operation.path.replace("}", ":str}"), http_method=operation.method, status_code=200)
    async def serve(request: AnyRequest) -> Response[Document]:
        return await endpoint.serve(operation, request)

    return serve


def _not_served(request: Request[Any, Any, Any], error: HTTPException) -> Response[Document]:
    if error.status_code in (404, 405):
        message = f"Unrecognized request URL ({request.method}: {request.url.path})."
        return Response(envelope(404, kind="invalid_request_error", message=message), status_code=404)
    return Response(envelope(error.status_code, kind="api_error", message=error.detail), status_code=error.status_code)
