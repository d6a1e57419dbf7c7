"""Queueing of mails: a row and its job, written in the transaction of what the mail tells of.

A link's token is kept as a keyed hash. In the mail's row it lies sealed until the mail has left
(workers/handlers/mail.py).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from billing_api.notifications.mails import repository
from billing_api.notifications.mails.rendering import TOKEN_PARAMETER, seal_token
from core.ids import new_token
from core.jobs import DeliverMail
from core.settings import Secrets
from db.models.identity import TokenPurpose, User
from db.unit_of_work import SystemTransaction

MAILS_AN_HOUR: Final = 5
"""To one address, from all who ask: no form of ours must fill a stranger's mailbox."""


async def queue_mail(
    tx: SystemTransaction,
    template: str,
    *,
    user_id: UUID,
    recipient: str,
    occasion: str,
    now: datetime,
    parameters: Mapping[str, str],
) -> None:
    """Once for each occasion. `template`: a kind of billing_api/notifications/mails/subjects.py."""
    mail_id = await repository.add_mail(
        tx,
        key=f"{template}:{occasion}",
        user_id=user_id,
        recipient=recipient,
        template=template,
        parameters=parameters,
        created_at=now,
    )
    if mail_id is not None:
        await tx.enqueue(DeliverMail(mail_id))


class Mails:
    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def write(
        self,
        tx: SystemTransaction,
        user: User,
        template: str,
        *,
        occasion: str,
        now: datetime,
        token: str | None = None,
        recipient: str | None = None,
        **parameters: str,
    ) -> None:
        """Once for each occasion. `recipient`: the user's own address where none is given."""
        if token is not None:
            parameters[TOKEN_PARAMETER] = seal_token(self._secrets.sealer, token)
        await queue_mail(
            tx,
            template,
            user_id=user.id,
            recipient=recipient or user.email,
            occasion=occasion,
            now=now,
            parameters={"full_name": user.full_name, **parameters},
        )

    async def write_link(
        self,
        tx: SystemTransaction,
        user: User,
        purpose: TokenPurpose,
        *,
        expires_at: datetime,
        now: datetime,
        occasion: str | None = None,
        recipient: str | None = None,
        **parameters: str,
    ) -> bytes:
        """A mail whose template has the name of the token's purpose. Without an occasion, one for each token.

        Returns the token's hash, which names what the link confirms.
        """
        # Only the hash is stored; the token itself lies sealed in the mail's row.
        token = new_token()
        token_hash = self.token_hash(token)
        await repository.add_token(tx, user.id, purpose, token_hash=token_hash, expires_at=expires_at)
        await self.write(
            tx,
            user,
            purpose.value,
            occasion=occasion or token_hash.hex(),
            now=now,
            token=token,
            recipient=recipient,
            **parameters,
        )
        return token_hash

    def token_hash(self, token: str) -> bytes:
        return self._secrets.index.digest("one_time_token", token)
