"""Verification page: the HTML page behind the link of the verification mail.

A file of its own, because it is a page and no use case. It will be removed when the portal replaces it.
"""

from typing import Final

from billing_api.web import link_page

PATH: Final = "/verify-email"


def confirmation_form(token: str) -> str:
    return link_page.form_page(
        "Confirm your e-mail address",
        "One click, and you can sign in to NextPanel billing.",
        path=PATH,
        token=token,
        button="Confirm this address",
    )


def confirmed(email: str) -> str:
    return link_page.success_page("Your address is confirmed", f"You can sign in as {email} now.")


def link_expired() -> str:
    return link_page.failure_page(
        "It works once, for a day. If you have used it already, sign in. Otherwise register again, and we will send"
        " you a new one."
    )
