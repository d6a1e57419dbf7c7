"""The kinds of mail: for each, its subject and, where it carries a link, the link's path.

To add a mail, add a line here and two templates of the same name, `templates/<kind>.txt` and `templates/<kind>.html`.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

LOCALES: Final = ("en",)
"""The languages that mails, pages and errors are written in (BCP 47)."""


class MailKind(NamedTuple):
    subject: str
    link_path: str | None = None
    """Where the mail's link leads, in the portal and in the API alike."""


MAIL_KINDS: Final[Mapping[str, MailKind]] = {
    "verify_email": MailKind("Confirm your e-mail address", "verify-email"),
    "account_exists": MailKind("You already have a NextPanel account"),
    "reset_password": MailKind("Choose a new password", "reset-password"),
    "password_changed": MailKind("Your password was changed"),
    "second_factor_changed": MailKind("Your second factor was changed"),
    "recovery_code_used": MailKind("A recovery code was used"),
    "api_key_made": MailKind("An API key was made"),
    "oauth_client_made": MailKind("An OAuth client was made"),
    "account_deleted": MailKind("Your account was deleted"),
    "email_change_asked": MailKind("Somebody wants to change your e-mail address"),
    "confirm_new_email": MailKind("Confirm your new e-mail address", "confirm-email"),
    "email_changed": MailKind("Your e-mail address was changed", "undo-email-change"),
    "refund_made": MailKind("Your refund"),
    "payment_returned": MailKind("Your payment goes back to you"),
    "payment_failed": MailKind("Your payment failed"),
    "payment_failed_again": MailKind("Your invoice is still unpaid"),
    "payment_needs_confirmation": MailKind("Confirm your payment"),
    "suspension_tomorrow": MailKind("Your license will be suspended"),
    "license_suspended": MailKind("Your license is suspended"),
    "license_ended_unpaid": MailKind("Your license has ended"),
    "renewal_notice": MailKind("Your license renews soon"),
    "license_ready": MailKind("Your NextPanel license is ready"),
}
"""By the name that stands in `mails.template`."""
