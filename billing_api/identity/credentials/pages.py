"""HTML pages behind mailed links: set a new password, confirm a new address, undo a change of address.

A file of its own, because these are pages and no use cases. They will be removed when the portal replaces them.
"""

from typing import Final

from billing_api.identity.credentials import password_policy
from billing_api.web import link_page

RESET: Final = "/reset-password"
CONFIRM: Final = "/confirm-email"
UNDO: Final = "/undo-email-change"

_PASSWORD_FIELD: Final = (
    '<label>New password <input type="password" name="password" autocomplete="new-password" required'
    f' minlength="{password_policy.SHORTEST}"></label>'
)


def new_password(token: str, *, fault: str | None = None) -> str:
    """`fault`: why the last password was refused."""
    text = (
        f"At least {password_policy.SHORTEST} characters; three or four unrelated words are strong. Your authenticator"
        " app and OAuth clients will be removed, because somebody else may have set them up."
    )
    return link_page.form_page(
        "Choose a new password" if fault is None else "Choose another password",
        text if fault is None else fault,
        path=RESET,
        token=token,
        button="Set this password",
        fields=_PASSWORD_FIELD,
    )


def password_set() -> str:
    return link_page.success_page(
        "Your password is set",
        "You were signed out everywhere. Sign in with the new password, then set up your authenticator app again.",
    )


def confirm_address(token: str) -> str:
    return link_page.form_page(
        "Confirm your new e-mail address",
        "After one click you sign in with this address.",
        path=CONFIRM,
        token=token,
        button="Use this address",
    )


def address_changed(email: str) -> str:
    return link_page.success_page("Your address is changed", f"From now on you sign in as {email}.")


def undo_change(token: str) -> str:
    return link_page.form_page(
        "Take your account back",
        "This address becomes your account's again. All devices are signed out, and the authenticator app and OAuth"
        " clients are removed. We send you a link to choose a new password.",
        path=UNDO,
        token=token,
        button="Take it back",
    )


def account_restored(email: str) -> str:
    return link_page.success_page(
        "Your account is yours again", f"We have sent a mail to {email}: open its link to choose a new password."
    )


def link_expired(why: str) -> str:
    return link_page.failure_page(why)


def refused(why: str) -> str:
    return link_page.failure_page(why, title="This cannot be done")
