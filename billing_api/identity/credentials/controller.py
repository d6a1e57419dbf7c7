"""Passwords and e-mail addresses over HTTP: changed in a session, or with links that were mailed.

Routes with a link's token read no cookie, so they need no protection from cross-site requests: the token is enough.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from litestar import Controller, MediaType, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, URLEncodedBody

from billing_api.access.caller import Caller
from billing_api.access.permissions import Permission, Principal
from billing_api.identity.credentials import pages
from billing_api.identity.credentials.email_changes import EmailChanges
from billing_api.identity.credentials.reset_links import ResetLinks
from billing_api.identity.credentials.schemas import (
    EmailChangeAsked,
    EmailChanged,
    ForgottenPassword,
    LinkToken,
    NewEmail,
    PasswordChange,
    PasswordReset,
    ResetAsked,
)
from billing_api.identity.credentials.service import CredentialService
from billing_api.identity.sessions.cookies import RefreshCookie, tokens_response
from billing_api.identity.sessions.schemas import AccessGranted
from billing_api.web.link_page import reply
from billing_api.web.problems import documented
from core.errors import Conflict, Forbidden, InvalidCredentials, InvalidInput, StepUpRequired, Unauthenticated


class PasswordController(Controller):
    path = "/auth/password"
    tags = ("accounts",)

    @post(
        "/forgot",
        permission=Permission.PUBLIC,
        limit="password",
        status_code=202,
    )
    async def forgot_password(
        self, reset_links: NamedDependency[ResetLinks], data: JSONBody[ForgottenPassword]
    ) -> ResetAsked:
        """Ask for a link to set a new password.

        A mail with a link goes to the address, if it has an account; the link is good for an hour. The answer is the
        same for every address.
        """
        await reset_links.ask(data.email)
        return ResetAsked(data.email)

    @post(
        "/reset",
        permission=Permission.PUBLIC,
        limit="password",
        status_code=204,
    )
    async def reset_password(
        self,
        credentials: NamedDependency[CredentialService],
        refresh_cookie: NamedDependency[RefreshCookie],
        caller: NamedDependency[Caller],
        data: JSONBody[PasswordReset],
    ) -> Response[None]:
        """Set a new password with the token of a mailed link.

        All sessions of the account end. A second factor stays, and is asked for at the next sign-in.
        """
        device = await credentials.reset_password(data.token, data.password, caller)
        return Response(None, status_code=204, cookies=[refresh_cookie.for_device(device)])


class EmailController(Controller):
    path = "/auth/email"
    tags = ("accounts",)

    @post(
        "/confirm",
        permission=Permission.PUBLIC,
        limit="password",
        status_code=200,
    )
    async def confirm_email_change(
        self,
        email_changes: NamedDependency[EmailChanges],
        caller: NamedDependency[Caller],
        data: JSONBody[LinkToken],
    ) -> EmailChanged:
        """Make the new address the account's.

        The token is in the link that was mailed to the new address; it is good for 24 hours. The old address gets a
        mail with a link to undo this within 7 days.
        """
        return EmailChanged(await email_changes.confirm(data.token, caller))

    @post(
        "/undo",
        permission=Permission.PUBLIC,
        limit="password",
        status_code=200,
    )
    async def undo_email_change(
        self,
        email_changes: NamedDependency[EmailChanges],
        caller: NamedDependency[Caller],
        data: JSONBody[LinkToken],
    ) -> EmailChanged:
        """Give the account its old address back.

        The token is in the link that was mailed to the old address. It is for owners whose account somebody else has
        taken over: all sessions end, and a link for a new password is mailed.
        """
        return EmailChanged(await email_changes.undo(data.token, caller))


class MyCredentialsController(Controller):
    path = "/me"
    tags = ("accounts",)

    @post(
        "/password",
        permission=Permission.OWN_CREDENTIALS,
        status_code=200,
        responses={401: documented(Unauthenticated, InvalidCredentials)},
    )
    async def change_password(
        self,
        principal: NamedDependency[Principal],
        credentials: NamedDependency[CredentialService],
        refresh_cookie: NamedDependency[RefreshCookie],
        caller: NamedDependency[Caller],
        data: JSONBody[PasswordChange],
    ) -> Response[AccessGranted]:
        """Change my password.

        Needs the present password. Every sign-in of the account ends, this one too; the answer holds the access token
        of a new one.
        """
        signed_in = await credentials.change_password(principal, data.current_password, data.new_password, caller)
        return tokens_response(signed_in, refresh_cookie)

    @post(
        "/email",
        permission=Permission.OWN_CREDENTIALS,
        status_code=202,
        responses={401: documented(Unauthenticated, InvalidCredentials), 403: documented(StepUpRequired, Forbidden)},
    )
    async def change_email(
        self,
        principal: NamedDependency[Principal],
        email_changes: NamedDependency[EmailChanges],
        caller: NamedDependency[Caller],
        data: JSONBody[NewEmail],
    ) -> EmailChangeAsked:
        """Ask for another e-mail address.

        A mail with a link goes to the new address, and one that warns to the old address. Nothing changes until the
        link is opened. An account with a second factor needs a sign-in or a step-up within 5 minutes.
        """
        await email_changes.ask(principal, data.email, data.password, caller)
        return EmailChangeAsked(data.email)


@get(pages.RESET, permission=Permission.PUBLIC, limit="password", media_type=MediaType.HTML, include_in_schema=False)
async def show_reset(token: FromQuery[str]) -> Response[str]:
    return reply(pages.new_password(token))


@post(pages.RESET, permission=Permission.PUBLIC, limit="password", media_type=MediaType.HTML, include_in_schema=False)
async def reset_by_form(
    credentials: NamedDependency[CredentialService],
    refresh_cookie: NamedDependency[RefreshCookie],
    caller: NamedDependency[Caller],
    data: URLEncodedBody[PasswordReset],
) -> Response[str]:
    try:
        device = await credentials.reset_password(data.token, data.password, caller)
    except InvalidInput as refusal:
        is_weak = any(error.field == "password" for error in refusal.errors)
        page = pages.new_password(data.token, fault=refusal.detail) if is_weak else pages.link_expired(refusal.detail)
        return reply(page, status_code=400)
    answer = reply(pages.password_set())
    answer.set_cookie(refresh_cookie.for_device(device))
    return answer


@get(pages.CONFIRM, permission=Permission.PUBLIC, limit="password", media_type=MediaType.HTML, include_in_schema=False)
async def show_confirmation(token: FromQuery[str]) -> Response[str]:
    return reply(pages.confirm_address(token))


@post(pages.CONFIRM, permission=Permission.PUBLIC, limit="password", media_type=MediaType.HTML, include_in_schema=False)
async def confirm_by_form(
    email_changes: NamedDependency[EmailChanges], caller: NamedDependency[Caller], data: URLEncodedBody[LinkToken]
) -> Response[str]:
    return await _page_after(email_changes.confirm(data.token, caller), pages.address_changed)


@get(pages.UNDO, permission=Permission.PUBLIC, limit="password", media_type=MediaType.HTML, include_in_schema=False)
async def show_undoing(token: FromQuery[str]) -> Response[str]:
    return reply(pages.undo_change(token))


@post(pages.UNDO, permission=Permission.PUBLIC, limit="password", media_type=MediaType.HTML, include_in_schema=False)
async def undo_by_form(
    email_changes: NamedDependency[EmailChanges], caller: NamedDependency[Caller], data: URLEncodedBody[LinkToken]
) -> Response[str]:
    return await _page_after(email_changes.undo(data.token, caller), pages.account_restored)


async def _page_after(change: Awaitable[str], done: Callable[[str], str]) -> Response[str]:
    """The page that a user sees after a change of address."""
    try:
        return reply(done(await change))
    except InvalidInput as refusal:
        return reply(pages.link_expired(refusal.detail), status_code=400)
    except Conflict as refusal:
        return reply(pages.refused(refusal.detail), status_code=409)


PAGES: Final = (show_reset, reset_by_form, show_confirmation, confirm_by_form, show_undoing, undo_by_form)
