"""Choice of the mail transport: SMTP, or a relay over HTTP."""

from billing_api.gateways.mail.relay import HttpMailRelay
from billing_api.gateways.mail.smtp import SmtpMailRelay
from core.clock import Clock
from core.smtp_settings import SmtpSettings


def mail_relay(settings: str | SmtpSettings, clock: Clock) -> HttpMailRelay | SmtpMailRelay:
    """`settings`: as core/settings.py reads MAIL_URL."""
    if isinstance(settings, SmtpSettings):
        return SmtpMailRelay(settings, clock)
    return HttpMailRelay(settings, clock)
