"""A subscription on a test clock of its own, at the simulated Stripe."""

from datetime import UTC, datetime
from typing import Any

import stripe

from tests.devstack.simulators.stripe.shop import Shop


def instant(year: int, month: int, day: int, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp())


JANUARY_31 = instant(2027, 1, 31, 12)


class Months:
    """A subscription on a clock of its own."""

    def __init__(
        self, shop: Shop, *, begins: int = JANUARY_31, amount: int = 9900, card: str = "pm_card_visa", **rest: Any
    ) -> None:
        self.shop = shop
        self.clock = shop.v1.test_helpers.test_clocks.create({"frozen_time": begins}).id
        params: Any = {"test_clock": self.clock, "payment_method": card}
        self.customer = shop.v1.customers.create(params).id
        self.id = shop.subscription(amount, customer=self.customer, **rest).id

    def advance(self, to: int) -> None:
        assert self.shop.v1.test_helpers.test_clocks.advance(self.clock, {"frozen_time": to}).status == "ready"

    @property
    def now(self) -> stripe.Subscription:
        return self.shop.v1.subscriptions.retrieve(self.id)

    @property
    def period(self) -> tuple[int, int]:
        item = self.now["items"].data[0]
        return item.current_period_start, item.current_period_end

    def invoices(self) -> list[tuple[str | None, str | None, int]]:
        """Newest first."""
        found = self.shop.v1.invoices.list({"subscription": self.id, "limit": 20}).data
        return [(invoice.billing_reason, invoice.status, invoice.total) for invoice in found]

    def schedule(self, price: str, interval: str = "month") -> str:
        made = self.shop.v1.subscription_schedules.create({"from_subscription": self.id})
        first = made.phases[0]
        now = {"items": [{"price": first["items"][0].price}], "end_date": first.end_date}
        phases: Any = [now, {"items": [{"price": price}], "duration": {"interval": interval}}]
        self.shop.v1.subscription_schedules.update(made.id, {"phases": phases})
        return made.id
