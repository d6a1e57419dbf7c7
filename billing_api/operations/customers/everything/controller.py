"""Everything about a customer over HTTP, for staff."""

from uuid import UUID

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from billing_api.access.permissions import Permission, Principal
from billing_api.operations.customers.everything.schemas import Everything
from billing_api.operations.customers.everything.service import CustomerOverviews


class AdminCustomerController(Controller):
    path = "/admin/users/{user_id:uuid}/everything"
    tags = ("admin",)

    @get("/", permission=Permission.USERS_VIEW, summary="Everything about a customer in one answer")
    async def get_everything_of_user(
        self,
        principal: NamedDependency[Principal],
        customer_overviews: NamedDependency[CustomerOverviews],
        user_id: FromPath[UUID],
    ) -> Response[Everything]:
        """Of each part the newest 20; `more` names the parts that go on, `left_out` those that your role may not see.

        No secrets: neither keys, nor the text of mails. The look is written into the audit trail.
        """
        shown = await customer_overviews.everything(principal, user_id)
        return Response(shown, headers={"Cache-Control": "no-store"})
