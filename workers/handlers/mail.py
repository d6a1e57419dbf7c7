"""Mails: rendered when they are sent, handed to the relay under their row's id, which the relay accepts once.

A token lies sealed in the row until its mail has left, and is wiped then. What a stranger may have typed (the name
under which somebody registered an address that need not be his) is in no mail to an address that nobody has proved.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError, select_autoescape
from sqlalchemy import select, update
from sqlalchemy.sql import func

from billing_api.gateways.http_client import Refused
from billing_api.gateways.mail.relay import MailRelay, OutgoingMail
from billing_api.notifications.mails.service import MAIL_TOKEN_CONTEXT
from core.crypto.sealing import CannotOpen, Sealer
from core.jobs import DeliverMail
from core.telemetry import logger
from db.models.messaging import Mail
from db.unit_of_work import Database

SUBJECTS: Final[Mapping[str, str]] = {
    "verify_email": "Confirm your e-mail address",
    "account_exists": "You already have a NextPanel account",
    "reset_password": "Choose a new password",
    "password_changed": "Your password was changed",
    "second_factor_changed": "Your second factor was changed",
    "recovery_code_used": "A recovery code was used",
    "api_key_made": "An API key was made",
    "oauth_client_made": "An OAuth client was made",
    "account_deleted": "Your account was deleted",
    "email_change_asked": "Somebody wants to change your e-mail address",
    "confirm_new_email": "Confirm your new e-mail address",
    "email_changed": "Your e-mail address was changed",
    "license_ready": "Your NextPanel licence is ready",
}
LINKS: Final[Mapping[str, str]] = {
    "verify_email": "verify-email",
    "reset_password": "reset-password",
    "confirm_new_email": "confirm-email",
    "email_changed": "undo-email-change",
}
"""Where a mail's link leads, in the portal and in the API alike."""

_TOKEN: Final = "token_sealed"  # noqa: S105  a parameter's name
_TEMPLATES: Final = Environment(
    loader=PackageLoader("billing_api.notifications.mails"),
    autoescape=select_autoescape(("html",)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class MailDelivery:
    def __init__(
        self, database: Database, relay: MailRelay, sealer: Sealer, *, public_url: str, portal_url: str | None
    ) -> None:
        """Links lead to the portal; without one, to the API as customers reach it, which has a page for them."""
        self._database = database
        self._relay = relay
        self._sealer = sealer
        self._public_url = public_url
        self._portal_url = portal_url.rstrip("/") if portal_url else None

    async def deliver(self, job: DeliverMail) -> None:
        async with self._database.as_system() as tx:
            mail = await tx.session.scalar(select(Mail).where(Mail.id == job.mail_id))
        if mail is None or mail.sent_at is not None:
            return
        await self._relay.send(self._rendered(mail))
        async with self._database.as_system() as tx:
            sent = update(Mail).where(Mail.id == mail.id, Mail.sent_at.is_(None))
            await tx.session.execute(sent.values(sent_at=func.now(), parameters=Mail.parameters.op("-")(_TOKEN)))
        logger().info("mail.sent", mail_id=str(mail.id), template=mail.template)

    def _rendered(self, mail: Mail) -> OutgoingMail:
        if mail.template not in SUBJECTS:
            raise Refused(f"there is no mail template {mail.template!r}")
        facts = self._facts(mail) | {"subject": SUBJECTS[mail.template]}
        try:
            text, html = (_TEMPLATES.get_template(f"{mail.template}.{kind}").render(facts) for kind in ("txt", "html"))
        except TemplateError as failure:
            raise Refused(f"the mail cannot be written: {failure}") from failure
        return OutgoingMail(mail.recipient, SUBJECTS[mail.template], text, html, str(mail.id))

    def _facts(self, mail: Mail) -> dict[str, Any]:
        parameters = mail.parameters
        facts = {name: value for name, value in parameters.items() if name != _TOKEN}
        facts |= {"portal_url": self._portal_url, "public_url": self._public_url}
        if _TOKEN in parameters:
            token = quote(self._opened(parameters[_TOKEN]), safe="")
            facts["link"] = f"{self._portal_url or self._public_url}/{LINKS[mail.template]}?token={token}"
        return facts

    def _opened(self, token_sealed: str) -> str:
        try:
            sealed = base64.b64decode(token_sealed, validate=True)
            return self._sealer.open(sealed, context=MAIL_TOKEN_CONTEXT).decode()
        except (CannotOpen, binascii.Error) as failure:
            raise Refused(f"the token of this mail cannot be opened: {failure}") from failure
