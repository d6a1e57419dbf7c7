"""Invoice routes, for staff."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.commerce.invoices.admin_schemas import (
    AdminInvoiceView,
    BalanceGiven,
    CreditNoteGiven,
    InvoiceReasonGiven,
)
from billing_api.commerce.invoices.admin_service import InvoiceAdministration
from billing_api.commerce.invoices.repository import InvoiceFilter
from billing_api.commerce.invoices.schemas import BalanceView
from billing_api.web.parameters import instant, reply
from billing_api.web.problems import documented
from core.errors import Conflict, PaymentDeclined, PaymentDisputed, Unprocessable
from db.idempotency import Once
from db.models.commerce import InvoiceStatus
from db.paging import Page, Paging


class AdminInvoiceController(Controller):
    path = "/admin/invoices"
    tags = ("admin",)

    @get("/", permission=Permission.BILLING_VIEW)
    async def search_invoices(
        self,
        principal: NamedDependency[Principal],
        invoice_administration: NamedDependency[InvoiceAdministration],
        paging: NamedDependency[Paging],
        status: Annotated[InvoiceStatus | None, QueryParameter(description="Invoices in this state.")] = None,
        email: Annotated[
            str | None, QueryParameter(max_length=254, description="Invoices of the account with this address.")
        ] = None,
        subscription_id: Annotated[UUID | None, QueryParameter(description="Invoices of this subscription.")] = None,
        number: Annotated[
            str | None, QueryParameter(max_length=64, description="The invoice with this number.")
        ] = None,
        stripe_id: Annotated[
            str | None, QueryParameter(max_length=255, description="The invoice with this id at Stripe.")
        ] = None,
        failed: Annotated[
            bool | None, QueryParameter(description="True: open renewals that could not be collected.")
        ] = None,
        from_: Annotated[
            str | None, QueryParameter(name="from", description="Invoices made at this instant or later, RFC 3339.")
        ] = None,
        to: Annotated[str | None, QueryParameter(description="Invoices made before this instant, RFC 3339.")] = None,
    ) -> Page[AdminInvoiceView]:
        """Search invoices.

        Every condition that is given must hold. The newest first; drafts too.
        """
        wanted = InvoiceFilter(
            status=status,
            email=email,
            subscription_id=subscription_id,
            number=number,
            stripe_id=stripe_id,
            failed=failed,
            since=instant(from_, "from"),
            before=instant(to, "to"),
        )
        return await invoice_administration.page(principal, paging, wanted)

    @get("/{invoice_id:uuid}", permission=Permission.BILLING_VIEW)
    async def get_any_invoice(
        self,
        principal: NamedDependency[Principal],
        invoice_administration: NamedDependency[InvoiceAdministration],
        invoice_id: FromPath[UUID],
    ) -> AdminInvoiceView:
        """Read any customer's invoice.

        With its owner and its id at Stripe.
        """
        return await invoice_administration.one(principal, invoice_id)

    @post(
        "/{invoice_id:uuid}/void",
        permission=Permission.BILLING_CHANGE,
        step_up=True,
        status_code=200,
        responses={409: documented(Conflict)},
    )
    async def void_invoice(
        self,
        principal: NamedDependency[Principal],
        invoice_administration: NamedDependency[InvoiceAdministration],
        once: NamedDependency[Once],
        invoice_id: FromPath[UUID],
        data: JSONBody[InvoiceReasonGiven],
    ) -> Response[AdminInvoiceView]:
        """Void an open invoice.

        Nothing of it is to be paid any more. It cannot be taken back.
        """
        return reply(await invoice_administration.void(principal, invoice_id, data.reason, once), status_code=200)

    @post(
        "/{invoice_id:uuid}/mark-uncollectible",
        permission=Permission.BILLING_CHANGE,
        step_up=True,
        status_code=200,
        responses={409: documented(Conflict)},
    )
    async def give_up_invoice(
        self,
        principal: NamedDependency[Principal],
        invoice_administration: NamedDependency[InvoiceAdministration],
        once: NamedDependency[Once],
        invoice_id: FromPath[UUID],
        data: JSONBody[InvoiceReasonGiven],
    ) -> Response[AdminInvoiceView]:
        """Give up an open invoice.

        It is not collected any more, and its owner may still pay it.
        """
        return reply(await invoice_administration.give_up(principal, invoice_id, data.reason, once), status_code=200)

    @post(
        "/{invoice_id:uuid}/retry",
        permission=Permission.BILLING_CHANGE,
        step_up=True,
        status_code=200,
        responses={402: documented(PaymentDeclined), 409: documented(Conflict)},
    )
    async def retry_invoice(
        self,
        principal: NamedDependency[Principal],
        invoice_administration: NamedDependency[InvoiceAdministration],
        once: NamedDependency[Once],
        invoice_id: FromPath[UUID],
        data: JSONBody[InvoiceReasonGiven],
    ) -> Response[AdminInvoiceView]:
        """Try to collect an open invoice now.

        With the card that is charged otherwise. A bank that asks for its customer leaves it open.
        """
        return reply(await invoice_administration.retry(principal, invoice_id, data.reason, once), status_code=200)

    @post(
        "/{invoice_id:uuid}/credit-note",
        permission=Permission.BILLING_CHANGE,
        step_up=True,
        status_code=201,
        responses={409: documented(PaymentDisputed, Conflict), 422: documented(Unprocessable)},
    )
    async def credit_invoice(
        self,
        principal: NamedDependency[Principal],
        invoice_administration: NamedDependency[InvoiceAdministration],
        once: NamedDependency[Once],
        invoice_id: FromPath[UUID],
        data: JSONBody[CreditNoteGiven],
    ) -> Response[AdminInvoiceView]:
        """Reduce an invoice by a credit note.

        Of an open invoice less is to be paid. Of a paid one the money goes where `to` says; a refund to the card counts
        like any other, for the license too.
        """
        return reply(await invoice_administration.credit(principal, invoice_id, data, once), status_code=201)


class AdminBalanceController(Controller):
    path = "/admin/users/{user_id:uuid}/balance"
    tags = ("admin",)

    @post(
        "/",
        permission=Permission.BILLING_CHANGE,
        step_up=True,
        status_code=201,
        responses={409: documented(Conflict), 422: documented(Unprocessable)},
    )
    async def change_balance(
        self,
        principal: NamedDependency[Principal],
        invoice_administration: NamedDependency[InvoiceAdministration],
        once: NamedDependency[Once],
        user_id: FromPath[UUID],
        data: JSONBody[BalanceGiven],
    ) -> Response[BalanceView]:
        """Change a customer's balance.

        Credit is used by the next invoices; what is owed is charged with the next one.
        """
        return reply(await invoice_administration.add_balance(principal, user_id, data, once), status_code=201)
