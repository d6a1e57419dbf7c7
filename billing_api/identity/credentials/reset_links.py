"""Password reset links: a request for one writes a job, and a worker mails the link.

The request reads nothing: addresses with and without an account cost the same statements and get the same answer. The
worker finds out which it is. The address is encrypted in the job, because anything may have been typed into that field.

Unproved and suspended accounts get no link, and an address gets only a limited number of mails in an hour.
"""

import base64
from datetime import datetime, timedelta
from typing import Final

from billing_api.identity.credentials import email_address, repository
from billing_api.notifications.mails import repository as mail_repository
from billing_api.notifications.mails.service import MAILS_AN_HOUR, Mails
from core.clock import Clock
from core.crypto.sealing import CannotOpen
from core.errors import FieldError, InvalidInput
from core.ids import new_id
from core.jobs import MailResetLink
from core.settings import Secrets
from core.telemetry import logger
from db.models.identity import TokenPurpose, User
from db.unit_of_work import Database, SystemTransaction

RESET_LIFETIME: Final = timedelta(hours=1)
_CONTEXT: Final = "outbox.mail_reset_link"


class ResetLinks:
    def __init__(self, database: Database, mails: Mails, secrets: Secrets, clock: Clock) -> None:
        self._database = database
        self._mails = mails
        self._secrets = secrets
        self._clock = clock

    async def ask(self, email: str) -> None:
        fault = email_address.fault(email)
        if fault is not None:
            raise InvalidInput(fault, errors=(FieldError("email", fault),))
        async with self._database.as_system() as tx:
            await tx.enqueue(self.job(email))

    def job(self, email: str) -> MailResetLink:
        sealed = self._secrets.sealer.seal(email.encode(), context=_CONTEXT)
        return MailResetLink(new_id(), base64.b64encode(sealed).decode())

    async def write(self, tx: SystemTransaction, user: User, now: datetime, *, occasion: str | None = None) -> None:
        """Mails a link, regardless of earlier mails; nothing where the account is suspended."""
        if user.is_active:
            expires_at = now + RESET_LIFETIME
            await self._mails.write_link(
                tx, user, TokenPurpose.RESET_PASSWORD, expires_at=expires_at, now=now, occasion=occasion
            )

    async def perform(self, job: MailResetLink) -> None:
        """Mails the link, once for each job. The log says why a link was withheld."""
        async with self._database.as_system() as tx:
            withheld = await self._mail(tx, job)
        logger().info("password.reset_link", job=str(job.occasion), withheld=withheld)

    async def _mail(self, tx: SystemTransaction, job: MailResetLink) -> str | None:
        now = self._clock()
        email = self._opened(job)
        user = None if email is None else await repository.user_by_email(tx, email)
        if user is None or (user := await repository.lock_user(tx, user.id)) is None:
            return "no account"
        if user.email_verified_at is None or not user.is_active:
            return "unproved or suspended"
        template = TokenPurpose.RESET_PASSWORD.value
        if await mail_repository.mails_to(tx, user.email, template, now - timedelta(hours=1)) >= MAILS_AN_HOUR:
            return "too many this hour"
        await self.write(tx, user, now, occasion=str(job.occasion))
        return None

    def _opened(self, job: MailResetLink) -> str | None:
        """None where the encryption key no longer exists: the job is very old."""
        try:
            return self._secrets.sealer.open(base64.b64decode(job.email_sealed), context=_CONTEXT).decode()
        except CannotOpen:
            return None
