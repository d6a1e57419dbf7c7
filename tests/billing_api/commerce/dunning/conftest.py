"""A renewal that nobody pays: its customer, Stripe's time and ours, moved together."""

from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from billing_api.commerce.dunning.service import Dunning
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.gateways.stripe.client import StripeGateway
from db.unit_of_work import Database
from tests.billing_api.conftest import Buying, FakeTime
from tests.support.buyer import Buyer
from tests.support.databases import rows
from tests.support.errands import Errands
from tests.support.servers import DatabaseUrls
from tests.support.stripe import objects

DAY = 24 * 3600


class Unpaid:
    """A subscription whose renewal fails. `failed_at`, in Unix seconds, is day 0."""

    def __init__(self, buyer: Buyer, dunning: Dunning, clock: FakeTime, urls: DatabaseUrls, errands: Errands) -> None:
        self.buyer = buyer
        self.dunning = dunning
        self.errands = errands
        self._clock = clock
        self._urls = urls
        self._stripes_clock = ""
        self.failed_at = 0
        self.invoice = ""

    async def fails(self, card: str = "pm_card_chargeCustomerFail") -> None:
        one = self.buyer
        await one.use_card(card)
        await one.later(0)
        customer = f"{one.stripe}/_sim/customers/{one.customer}/test_clock"
        self._stripes_clock = (await one.browser.post(customer, json={})).json()["id"]
        [draft, _] = await objects(one.browser, one.stripe, "invoices", subscription=one.stripe_id)
        self.invoice = draft["id"]
        await self._stripe_is_at(draft["automatically_finalizes_at"])
        invoice = await self.at_stripe()
        assert (invoice["status"], invoice["attempt_count"]) == ("open", 1)
        self.failed_at = invoice["status_transitions"]["finalized_at"]
        await self.day(0, told=True)

    async def day(self, day: float, *, told: bool = False) -> None:
        """Everybody's time is so many days after the first failed try. `told`: the invoice's webhook comes."""
        instant = self.failed_at + int(day * DAY)
        if day:
            await self._stripe_is_at(instant)
        self._clock.now = datetime.fromtimestamp(instant + 1, UTC)
        self.buyer.sign_in()
        if told:
            await self.told()

    async def told(self) -> None:
        await self.buyer.mirror.mirror(StripeObject("invoice", self.invoice, self.buyer.customer))

    async def steps(self) -> None:
        await self.dunning.take_due_steps()
        await self.errands.run()

    async def pay(self) -> None:
        await self.buyer.ask_stripe("POST", f"invoices/{self.invoice}/pay", payment_method="pm_card_visa")

    async def at_stripe(self) -> dict[str, Any]:
        return await self.buyer.ask_stripe("GET", f"invoices/{self.invoice}")

    async def mails(self) -> list[str]:
        found = await rows(
            self._urls, "SELECT template FROM mails WHERE template <> 'license_ready' ORDER BY created_at, id"
        )
        return [row["template"] for row in found]

    async def taken(self) -> list[tuple[int, str, bool]]:
        found = await rows(self._urls, "SELECT day, step, passed_over FROM dunning_steps ORDER BY day")
        return [tuple(row.values()) for row in found]

    async def causes(self) -> list[str]:
        found = await rows(self._urls, "SELECT cause FROM license_suspensions WHERE ended_at IS NULL")
        return [row["cause"] for row in found]

    async def _stripe_is_at(self, instant: int) -> None:
        path = f"test_helpers/test_clocks/{self._stripes_clock}/advance"
        await self.buyer.ask_stripe("POST", path, frozen_time=instant)


Failing = Callable[..., Coroutine[Any, Any, Unpaid]]


@pytest.fixture
async def left_past_due(browser: httpx.AsyncClient, stripe_simulator: str) -> AsyncIterator[None]:
    """Stripe tries twice and leaves the subscription past due, as the go-live page asks for."""
    settings = f"{stripe_simulator}/_sim/account"
    before = (await browser.get(settings)).json()
    (await browser.post(settings, json={"retries": [5], "after": "past_due"})).raise_for_status()
    yield
    (await browser.post(settings, json=before)).raise_for_status()


@pytest.fixture
def dunning(database: Database, stripe: StripeGateway, mirror: Mirror, clock: FakeTime) -> Dunning:
    return Dunning(database, stripe, mirror, clock)


@pytest.fixture
def failing(
    buyer: Buying,
    dunning: Dunning,
    clock: FakeTime,
    database_urls: DatabaseUrls,
    errands: Errands,
    left_past_due: None,
) -> Failing:
    async def a_renewal_fails(card: str = "pm_card_chargeCustomerFail", **order: Any) -> Unpaid:
        unpaid = Unpaid(await buyer("Starter", **order), dunning, clock, database_urls, errands)
        await unpaid.fails(card)
        return unpaid

    return a_renewal_fails
