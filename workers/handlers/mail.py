"""Mail delivery: renders a mail when it is sent, and hands it to the relay.

The row's id is the relay's idempotency key, so the relay accepts each mail once. A token lies sealed in the row until
its mail has left, and is wiped then.
"""

from billing_api.gateways.http_client import PartnerRefused
from billing_api.gateways.mail.relay import MailRelay, OutgoingMail
from billing_api.notifications.mails import repository
from billing_api.notifications.mails.rendering import CannotRender, MailRenderer
from core.jobs import DeliverMail
from core.telemetry import logger
from db.unit_of_work import Database


class MailDelivery:
    def __init__(self, database: Database, relay: MailRelay, renderer: MailRenderer) -> None:
        self._database = database
        self._relay = relay
        self._renderer = renderer

    async def deliver(self, job: DeliverMail) -> None:
        async with self._database.as_system() as tx:
            mail = await repository.mail(tx, job.mail_id)
        if mail is None or mail.sent_at is not None:
            return
        try:
            subject, text, html = self._renderer.render(mail)
        except CannotRender as failure:
            raise PartnerRefused(str(failure)) from failure
        await self._relay.send(OutgoingMail(mail.recipient, subject, text, html, str(mail.id)))
        async with self._database.as_system() as tx:
            await repository.note_sent(tx, mail.id)
        logger().info("mail.sent", mail_id=str(mail.id), template=mail.template)
