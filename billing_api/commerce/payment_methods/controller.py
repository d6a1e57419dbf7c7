"""Payment method routes: a customer's cards."""

from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from billing_api.access.permissions import Permission, Principal
from billing_api.commerce.payment_methods.schemas import (
    DefaultChanged,
    MethodId,
    PaymentMethods,
    SetupId,
    SetupStarted,
    SetupView,
)
from billing_api.commerce.payment_methods.service import PaymentMethodService
from billing_api.web.parameters import reply
from db.idempotency import Once


class PaymentMethodController(Controller):
    path = "/payment-methods"
    tags = ("payments",)

    @get("/", permission=Permission.OWN_PAYMENTS_READ)
    async def list_payment_methods(
        self, principal: NamedDependency[Principal], payment_methods: NamedDependency[PaymentMethodService]
    ) -> PaymentMethods:
        """List my cards.

        The newest first, as Stripe has them; which one is charged, and whether it expires before that.
        """
        return await payment_methods.all(principal)

    @post("/setup", permission=Permission.PURCHASE)
    async def start_card_setup(
        self, principal: NamedDependency[Principal], payment_methods: NamedDependency[PaymentMethodService]
    ) -> Response[SetupStarted]:
        """Add a card.

        The answer is for Stripe's Payment Element, where the card is typed: its number never reaches us. Afterwards,
        read `payment-methods/setup/{setup_id}`.
        """
        return Response(await payment_methods.begin(principal), headers={"Cache-Control": "no-store"})

    @get("/setup/{setup_id:str}", permission=Permission.PURCHASE)
    async def settle_card_setup(
        self,
        principal: NamedDependency[Principal],
        payment_methods: NamedDependency[PaymentMethodService],
        setup_id: FromPath[SetupId],
    ) -> SetupView:
        """Read what became of a card that was added.

        The first card is charged from now on; another one only after `payment-methods/{method_id}/default`.
        """
        return await payment_methods.settle(principal, setup_id)

    @post("/{method_id:str}/default", permission=Permission.PURCHASE, status_code=200)
    async def set_default_payment_method(
        self,
        principal: NamedDependency[Principal],
        payment_methods: NamedDependency[PaymentMethodService],
        once: NamedDependency[Once],
        method_id: FromPath[MethodId],
    ) -> Response[DefaultChanged]:
        """Charge this card from now on.

        For new purchases and for every running subscription. Invoices that are open are tried with it at once.
        """
        return reply(await payment_methods.make_default(principal, method_id, once), status_code=200)

    @delete("/{method_id:str}", permission=Permission.PURCHASE)
    async def remove_payment_method(
        self,
        principal: NamedDependency[Principal],
        payment_methods: NamedDependency[PaymentMethodService],
        method_id: FromPath[MethodId],
    ) -> None:
        """Remove a card.

        If it was the one that is charged, the newest other card takes its place. The last card under a running
        subscription stays: 409 `payment_method_in_use`.
        """
        await payment_methods.remove(principal, method_id)
