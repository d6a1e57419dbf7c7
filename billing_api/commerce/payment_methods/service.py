"""Payment method use cases: list, add, choose and remove cards. Stripe has them; we keep no copy.

A card is typed into Stripe's Payment Element, and the page that comes back from there calls `settle`. Every call is
idempotent at Stripe, so a request that died half-way is simply sent again.
"""

import calendar
from datetime import UTC, datetime
from typing import Final, cast, get_args

from billing_api.access.permissions import Principal
from billing_api.commerce.payment_methods import repository
from billing_api.commerce.payment_methods.schemas import (
    DefaultChanged,
    PaymentMethods,
    PaymentMethodView,
    SetupStarted,
    SetupStatus,
    SetupView,
    TriedInvoice,
)
from billing_api.commerce.stripe_customers.service import StripeCustomers
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.gateways.stripe.payment_methods import CardFacts, Collected, StripeWallets, Wallet
from core.errors import NotFound, PaymentMethodInUse, Refusal
from core.ids import new_id
from core.telemetry import logger
from db.idempotency import Once, Replayable
from db.unit_of_work import Database

_NO_CARD: Final = "there is no such card among yours; read payment-methods"
_NO_SETUP: Final = "there is no such setup of yours; start one with POST payment-methods/setup"


class PaymentMethodService:
    def __init__(
        self,
        database: Database,
        wallets: StripeWallets,
        customers: StripeCustomers,
        mirror: Mirror,
        *,
        publishable_key: str | None,
    ) -> None:
        self._database = database
        self._wallets = wallets
        self._customers = customers
        self._mirror = mirror
        self._publishable_key = publishable_key

    async def all(self, principal: Principal) -> PaymentMethods:
        customer_id = await self._customers.known(principal)
        if customer_id is None:
            return PaymentMethods([])
        wallet = await self._wallets.wallet(customer_id)
        renewal = await self._next_renewal(principal)
        return PaymentMethods([_view(card, wallet, renewal) for card in wallet.cards])

    async def begin(self, principal: Principal) -> SetupStarted:
        setup_id = new_id()
        user = await self._customers.buyer(principal)
        setup = await self._customers.use(user, lambda customer, _: self._wallets.begin_setup(setup_id, customer))
        return SetupStarted(setup_id=setup.id, client_secret=setup.client_secret, publishable_key=self._publishable_key)

    async def settle(self, principal: Principal, setup_id: str) -> SetupView:
        """What became of a setup. The first card of a customer is charged from now on."""
        customer_id = await self._customer(principal, _NO_SETUP)
        setup = await self._wallets.setup(setup_id)
        if setup.customer_id != customer_id:
            raise NotFound(_NO_SETUP)
        status = setup.status if setup.status in get_args(SetupStatus) else "requires_payment_method"
        view: PaymentMethodView | None = None
        if setup.status == "succeeded" and setup.method_id is not None:
            wallet = await self._wallets.wallet(customer_id)
            if wallet.default_id is None:
                await self._wallets.charge_with(customer_id, setup.method_id)
                wallet = Wallet(wallet.cards, setup.method_id)
            view = _view(_card(wallet, setup.method_id), wallet, await self._next_renewal(principal))
        return SetupView(setup_id=setup.id, status=cast("SetupStatus", status), payment_method=view, error=setup.error)

    async def make_default(self, principal: Principal, method_id: str, once: Once) -> Replayable[DefaultChanged]:
        """Charges this card from now on, also for running subscriptions, and tries open invoices with it."""
        customer_id = await self._customer(principal, _NO_CARD)
        async with self._database.as_customer(principal.user_id) as tx:
            if stored := await once.claim(tx, DefaultChanged):
                return stored
        try:
            async with self._mirror.exclusive(customer_id):
                wallet = await self._wallets.wallet(customer_id)
                card = _card(wallet, method_id)
                await self._wallets.charge_with(customer_id, method_id)
                tried = await self._wallets.collect_open(customer_id, method_id)
        except Refusal:
            async with self._database.as_system(principal.user_id) as system:
                await once.give_back(system)
            raise
        await self._mirror_invoices(customer_id, tried)
        chosen = Wallet(wallet.cards, method_id)
        view = DefaultChanged(
            payment_method=_view(card, chosen, await self._next_renewal(principal)),
            tried_invoices=[_tried(one) for one in tried],
        )
        async with self._database.as_customer(principal.user_id) as tx:
            return await once.record(tx, view)

    async def remove(self, principal: Principal, method_id: str) -> None:
        """Removes a card. If it was the one that is charged, the newest other card takes its place."""
        customer_id = await self._customer(principal, _NO_CARD)
        async with self._mirror.exclusive(customer_id):
            wallet = await self._wallets.wallet(customer_id)
            _card(wallet, method_id)
            others = [card.id for card in wallet.cards if card.id != method_id]
            if not others:
                await self._expect_nothing_running(principal)
            elif wallet.default_id in {None, method_id}:
                await self._wallets.charge_with(customer_id, others[0])
            await self._wallets.detach(method_id)

    async def _expect_nothing_running(self, principal: Principal) -> None:
        async with self._database.as_customer(principal.user_id) as tx:
            if await repository.has_running(tx):
                raise PaymentMethodInUse(
                    "this is your last card, and a subscription is charged to it: add another card first, or cancel the"
                    " subscription"
                )

    async def _mirror_invoices(self, customer_id: str, tried: list[Collected]) -> None:
        """As their webhooks will do it; so the answer to the next read is right at once."""
        for one in tried:
            try:
                await self._mirror.mirror(StripeObject("invoice", one.invoice_id, customer_id))
            except Refusal as refusal:
                logger().warning("payment_methods.mirror_postponed", invoice=one.invoice_id, cause=str(refusal))

    async def _customer(self, principal: Principal, missing: str) -> str:
        customer_id = await self._customers.known(principal)
        if customer_id is None:
            raise NotFound(missing)
        return customer_id

    async def _next_renewal(self, principal: Principal) -> datetime | None:
        async with self._database.as_customer(principal.user_id) as tx:
            return await repository.next_renewal(tx)


def _card(wallet: Wallet, method_id: str) -> CardFacts:
    for card in wallet.cards:
        if card.id == method_id:
            return card
    raise NotFound(_NO_CARD)


def _view(card: CardFacts, wallet: Wallet, renewal: datetime | None) -> PaymentMethodView:
    return PaymentMethodView(
        id=card.id,
        brand=card.brand,
        last4=card.last4,
        exp_month=card.exp_month,
        exp_year=card.exp_year,
        is_default=card.id == wallet.default_id,
        expires_before_renewal=renewal is not None and _expires(card) <= renewal,
    )


def _expires(card: CardFacts) -> datetime:
    """The end of the month that is printed on the card."""
    last_day = calendar.monthrange(card.exp_year, card.exp_month)[1]
    return datetime(card.exp_year, card.exp_month, last_day, 23, 59, 59, tzinfo=UTC)


def _tried(one: Collected) -> TriedInvoice:
    return TriedInvoice(
        stripe_invoice_id=one.invoice_id,
        status="paid" if one.paid else "open",
        error=one.error,
        payment_url=None if one.paid else one.page_url,
    )
