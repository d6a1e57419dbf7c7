"""Customer details at Stripe: the name, address and tax ids that its invoices show."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec
import stripe

from billing_api.gateways.stripe.client import StripeGateway, stripe_errors_mapped
from core.telemetry import logger

_UNKNOWN: Final = "Stripe does not answer; the customer's details are sent again"
_MOST: Final = 100
_LINES: Final = ("line1", "line2", "city", "state", "postal_code", "country")


class CustomerDetails(msgspec.Struct, frozen=True, kw_only=True):
    """`name` heads the invoice. `tax_ids`: kind and number of each."""

    name: str
    email: str
    individual_name: str | None = None
    address: Mapping[str, Any] | None = None
    tax_ids: tuple[tuple[str, str], ...] = ()


class StripeCustomerDetails(Protocol):
    async def show(self, customer_id: str, details: CustomerDetails) -> None:
        """NotFound where Stripe has no such customer."""


class StripeCustomerWriter:
    def __init__(self, stripe_: StripeGateway) -> None:
        self._v1 = stripe_.v1

    async def show(self, customer_id: str, details: CustomerDetails) -> None:
        """Sets every field, so that it may be repeated, and in any order."""
        params: Any = {"name": details.name, "email": details.email, "address": ""}
        async with stripe_errors_mapped(_UNKNOWN):
            await self._v1.customers.update_async(customer_id, params)
            if details.address is not None:  # after it was emptied, or a line that is left out would stay
                await self._v1.customers.update_async(customer_id, {"address": _lines(details.address)})
            await self._show_tax_ids(customer_id, details.tax_ids)

    async def _show_tax_ids(self, customer_id: str, wanted: tuple[tuple[str, str], ...]) -> None:
        found = await self._v1.customers.tax_ids.list_async(customer_id, {"limit": _MOST})
        known = {(str(one.type), one.value): one.id for one in found.data}
        for pair in known.keys() - set(wanted):
            await self._v1.customers.tax_ids.delete_async(customer_id, known[pair])
        for kind, value in set(wanted) - known.keys():
            params: Any = {"type": kind, "value": value}
            try:
                await self._v1.customers.tax_ids.create_async(customer_id, params)
            except stripe.InvalidRequestError as failure:
                if failure.code != "tax_id_invalid":
                    raise
                logger().warning("stripe.tax_id_refused", customer_id=customer_id, kind=kind)


def _lines(address: Mapping[str, Any]) -> Any:
    return {name: address[name] for name in _LINES if address.get(name)}
