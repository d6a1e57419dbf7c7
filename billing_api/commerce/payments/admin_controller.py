"""Payment routes, for staff."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.commerce.payments.admin_schemas import AdminPaymentDetails, AdminPaymentView
from billing_api.commerce.payments.repository import PaymentFilter
from billing_api.commerce.payments.service import PaymentAdministration
from billing_api.web.parameters import instant
from db.models.commerce import PaymentStatus
from db.paging import Page, Paging


class AdminPaymentController(Controller):
    path = "/admin/payments"
    tags = ("admin",)

    @get("/", permission=Permission.BILLING_VIEW)
    async def search_payments(
        self,
        principal: NamedDependency[Principal],
        payment_administration: NamedDependency[PaymentAdministration],
        paging: NamedDependency[Paging],
        status: Annotated[PaymentStatus | None, QueryParameter(description="Payments in this state.")] = None,
        email: Annotated[
            str | None, QueryParameter(max_length=254, description="Payments of the account with this address.")
        ] = None,
        license_id: Annotated[UUID | None, QueryParameter(description="Payments for this license.")] = None,
        invoice_id: Annotated[UUID | None, QueryParameter(description="Payments of this invoice.")] = None,
        stripe_id: Annotated[
            str | None,
            QueryParameter(max_length=255, description="The payment with this payment intent or charge at Stripe."),
        ] = None,
        refunded: Annotated[
            bool | None, QueryParameter(description="True: payments of which something went back, or is on its way.")
        ] = None,
        disputed: Annotated[
            bool | None, QueryParameter(description="True: payments that a bank has, or had, doubts about.")
        ] = None,
        from_: Annotated[
            str | None, QueryParameter(name="from", description="Payments made at this instant or later, RFC 3339.")
        ] = None,
        to: Annotated[str | None, QueryParameter(description="Payments made before this instant, RFC 3339.")] = None,
    ) -> Page[AdminPaymentView]:
        """Search payments.

        Every condition that is given must hold. The newest first; failed attempts too.
        """
        wanted = PaymentFilter(
            status=status,
            email=email,
            license_id=license_id,
            invoice_id=invoice_id,
            stripe_id=stripe_id,
            refunded=refunded,
            disputed=disputed,
            since=instant(from_, "from"),
            before=instant(to, "to"),
        )
        return await payment_administration.page(principal, paging, wanted)

    @get("/{payment_id:uuid}", permission=Permission.BILLING_VIEW)
    async def get_any_payment(
        self,
        principal: NamedDependency[Principal],
        payment_administration: NamedDependency[PaymentAdministration],
        payment_id: FromPath[UUID],
    ) -> AdminPaymentDetails:
        """Read any customer's payment.

        With its refunds and disputes, and what followed from them.
        """
        return await payment_administration.one(principal, payment_id)
