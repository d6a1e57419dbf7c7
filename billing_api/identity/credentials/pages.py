"""Pages behind the links in mails: a new password, a new address, the old address again.

A file of its own because these are pages and no use cases; they go when the portal takes their place.
"""

from typing import Final

from billing_api.identity.credentials import password_policy as password_rules
from billing_api.web import link_page

RESET: Final = "/reset-password"
CONFIRM: Final = "/confirm-email"
UNDO: Final = "/undo-email-change"

_PASSWORD_FIELD: Final = (
    '<label>New password <input type="password" name="password" autocomplete="new-password" required'
    f' minlength="{password_rules.SHORTEST}"></label>'
)


def new_password(token: str, *, fault: str | None = None) -> str:
    """`fault`: why the one before was not taken."""
    text = (
        f"At least {password_rules.SHORTEST} characters; three or four unrelated words hold well. An authenticator app"
        " and OAuth clients end with it, for somebody else may have set them up."
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
        "You were signed out everywhere. Sign in with the new password, and set up your authenticator app anew.",
    )


def confirm_address(token: str) -> str:
    return link_page.form_page(
        "Confirm your new e-mail address",
        "One click, and you sign in with this address from now on.",
        path=CONFIRM,
        token=token,
        button="Use this address",
    )


def address_changed(email: str) -> str:
    return link_page.success_page("Your address is changed", f"From now on you sign in as {email}.")


def undo_change(token: str) -> str:
    return link_page.form_page(
        "Take your account back",
        "This address becomes your account's again, everybody is signed out, authenticator app and OAuth clients end,"
        " and we send you a link to choose a new password.",
        path=UNDO,
        token=token,
        button="Take it back",
    )


def taken_back(email: str) -> str:
    return link_page.success_page(
        "Your account is yours again", f"We have sent a mail to {email}: follow its link to choose a new password."
    )


def link_is_over(why: str) -> str:
    return link_page.failure_page(why)


def refused(why: str) -> str:
    return link_page.failure_page(why, title="This cannot be done")
