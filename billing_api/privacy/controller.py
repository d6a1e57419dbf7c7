"""Personal data over HTTP: export and deletion of one's own account."""

from typing import Annotated, Final

from litestar import Controller, Response, delete, get
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from billing_api.access.caller import Caller
from billing_api.access.permissions import Permission, Principal
from billing_api.identity.sessions.cookies import RefreshCookie
from billing_api.privacy.schemas import Deletion, PersonalData
from billing_api.privacy.service import MOST_ROWS, AccountDeletion, DataExport
from billing_api.web.problems import documented
from core.errors import InvalidCredentials, Unauthenticated

PageNumber = Annotated[
    int, QueryParameter(ge=0, le=100_000, description=f"Counted from 0; a page has {MOST_ROWS:,} rows of each table.")
]
_AS_A_FILE: Final = {
    "Cache-Control": "no-store",
    "Content-Disposition": 'attachment; filename="nextpanel-billing-data-{page}.json"',
}


class PrivacyController(Controller):
    path = "/me"
    tags = ("accounts",)

    @get("/export", permission=Permission.OWN_CREDENTIALS, step_up=True)
    async def export_me(
        self,
        principal: NamedDependency[Principal],
        caller: NamedDependency[Caller],
        data_export: NamedDependency[DataExport],
        page: PageNumber = 0,
    ) -> Response[PersonalData]:
        """Export everything held about me.

        As JSON, by tables, in pages: go on with `page` until `next_page` is null. Secrets and hashes are left out.
        """
        exported = await data_export.page(principal, page, caller)
        return Response(exported, headers={name: text.format(page=page) for name, text in _AS_A_FILE.items()})

    @delete(
        "/",
        permission=Permission.OWN_CREDENTIALS,
        step_up=True,
        status_code=204,
        responses={401: documented(Unauthenticated, InvalidCredentials)},
    )
    async def delete_me(
        self,
        principal: NamedDependency[Principal],
        caller: NamedDependency[Caller],
        account_deletion: NamedDependency[AccountDeletion],
        refresh_cookie: NamedDependency[RefreshCookie],
        data: JSONBody[Deletion],
    ) -> Response[None]:
        """Delete my account for good.

        Needs the password. Refused while a subscription renews, a payment page is open, or a license is live (unless
        `end_licenses` is true). What tax law wants kept stays, without the name.
        """
        await account_deletion.delete(principal, data, caller)
        return Response(None, status_code=204, cookies=[refresh_cookie.cleared()])
