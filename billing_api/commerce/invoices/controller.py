"""Invoice routes: a customer's invoices, their PDF, and the balance."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import FromPath, QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.commerce.invoices.schemas import BalanceView, InvoiceView
from billing_api.commerce.invoices.service import InvoiceService
from billing_api.web.parameters import instant
from db.models.commerce import InvoiceStatus
from db.paging import Page, Paging


class InvoiceController(Controller):
    path = "/invoices"
    tags = ("payments",)

    @get("/", permission=Permission.OWN_INVOICES_READ)
    async def list_invoices(
        self,
        principal: NamedDependency[Principal],
        invoices: NamedDependency[InvoiceService],
        paging: NamedDependency[Paging],
        status: Annotated[InvoiceStatus | None, QueryParameter(description="Invoices in this state.")] = None,
        subscription_id: Annotated[UUID | None, QueryParameter(description="Invoices of this subscription.")] = None,
        from_: Annotated[
            str | None, QueryParameter(name="from", description="Invoices made at this instant or later, RFC 3339.")
        ] = None,
        to: Annotated[str | None, QueryParameter(description="Invoices made before this instant, RFC 3339.")] = None,
    ) -> Page[InvoiceView]:
        """List my invoices.

        The newest first, as Stripe has them. Drafts are left out: they may still change, or never be sent.
        """
        wanted = {
            "status": status,
            "subscription_id": subscription_id,
            "since": instant(from_, "from"),
            "before": instant(to, "to"),
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        return await invoices.page(principal, paging, given)

    @get("/{invoice_id:uuid}", permission=Permission.OWN_INVOICES_READ)
    async def get_invoice(
        self,
        principal: NamedDependency[Principal],
        invoices: NamedDependency[InvoiceService],
        invoice_id: FromPath[UUID],
    ) -> InvoiceView:
        """Read one of my invoices.

        With its lines, taxes, discounts and credit notes.
        """
        return await invoices.one(principal, invoice_id)

    @get(
        "/{invoice_id:uuid}/pdf",
        permission=Permission.OWN_INVOICES_READ,
        responses={
            200: ResponseSpec(
                bytes,
                description="The PDF.",
                media_type="application/pdf",
                examples=[Example(id="pdf", summary="The file", value="%PDF-1.4 …")],
            )
        },
    )
    async def get_invoice_pdf(
        self,
        principal: NamedDependency[Principal],
        invoices: NamedDependency[InvoiceService],
        invoice_id: FromPath[UUID],
    ) -> Response[bytes]:
        """Download one of my invoices.

        The PDF that Stripe makes, under the invoice's number.
        """
        name, pdf = await invoices.pdf(principal, invoice_id)
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return Response(pdf, media_type="application/pdf", headers=headers)


class BalanceController(Controller):
    path = "/balance"
    tags = ("payments",)

    @get("/", permission=Permission.OWN_INVOICES_READ)
    async def get_balance(
        self, principal: NamedDependency[Principal], invoices: NamedDependency[InvoiceService]
    ) -> BalanceView:
        """Read my balance.

        Credit at Stripe that the next invoices use first, with its latest changes. It is read from Stripe.
        """
        return await invoices.balance(principal)
