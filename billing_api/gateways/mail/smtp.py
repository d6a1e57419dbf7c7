"""SMTP submission (RFC 6409): hands each mail to the seller's mail server, over TLS.

The server's answer decides: after 4xx or a lost connection the mail is retried, 5xx is final. If the connection breaks
between message and answer, nobody knows whether the server took the mail. It is sent again and may arrive twice; both
copies have the same Message-ID, made from the mail's id.

A refused login is an error in our settings and not in the mail, so the mail is retried.
"""

import asyncio
import ssl
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from email.utils import format_datetime, parseaddr
from typing import Final

import aiosmtplib

from billing_api.gateways.http_client import PartnerRefused, Retryable
from billing_api.gateways.mail.relay import OutgoingMail
from core.clock import Clock
from core.smtp_settings import SmtpSettings

_WITHIN: Final = 12.0
"""Seconds for the whole conversation: less than the claim of a job that delivers a mail."""
_FAREWELL_WITHIN: Final = 1.0
_LONGEST_REASON: Final = 300
_PERMANENT: Final = 500


class SmtpMailRelay:
    """One connection for each mail: a mail server may end an idle one at any time."""

    def __init__(self, settings: SmtpSettings, clock: Clock, *, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: the trusted authorities; by default the system's (SSL_CERT_FILE names others)."""
        self._settings = settings
        self._clock = clock
        self._tls = tls or ssl.create_default_context()

    async def send(self, mail: OutgoingMail) -> None:
        message = self._message(mail)
        try:
            await self._submit(message)
        except aiosmtplib.SMTPRecipientsRefused as failure:
            raise _meaning(failure.recipients[0].code, failure.recipients[0].message) from failure
        except aiosmtplib.SMTPAuthenticationError as failure:
            raise Retryable(f"The mail server refuses the login, check MAIL_URL: {failure.message}") from failure
        except aiosmtplib.SMTPNotSupported as failure:
            raise _lacking(failure) from failure
        except aiosmtplib.SMTPResponseException as failure:
            raise _meaning(failure.code, failure.message) from failure
        except (aiosmtplib.SMTPException, OSError) as failure:
            raise Retryable(f"The mail server does not take it now: {failure}") from failure

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _submit(self, message: EmailMessage) -> None:
        given = self._settings
        client = aiosmtplib.SMTP(
            hostname=given.host,
            port=given.port,
            username=given.user,
            password=given.password,
            use_tls=given.tls == "from_the_start",
            start_tls=given.tls == "starttls",
            tls_context=None if given.tls == "off" else self._tls,
            timeout=_WITHIN,
        )
        try:
            async with asyncio.timeout(_WITHIN):
                await client.connect()
                await client.send_message(message)
            # The mail is taken: a farewell that is not answered must not have it sent again.
            with suppress(aiosmtplib.SMTPException, OSError):
                async with asyncio.timeout(_FAREWELL_WITHIN):
                    await client.quit()
        finally:
            client.close()

    def _message(self, mail: OutgoingMail) -> EmailMessage:
        name, address = parseaddr(self._settings.sender)
        message = EmailMessage(policy=WIRE)
        message["From"] = Address(name, addr_spec=address)
        message["To"] = mail.to
        message["Subject"] = mail.subject
        message["Date"] = format_datetime(self._clock())
        message["Message-ID"] = f"<{mail.key}@{address.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office reply comes back
        message.set_content(mail.text)
        message.add_alternative(mail.html, subtype="html")
        return message


def _meaning(code: int, said: str) -> Retryable | PartnerRefused:
    """Of an answer of the server (RFC 5321, 4.2.1)."""
    reason = f"The mail server answered {code}: {said[:_LONGEST_REASON]}"
    return PartnerRefused(reason, code) if code >= _PERMANENT else Retryable(reason)


def _lacking(failure: aiosmtplib.SMTPNotSupported) -> Retryable | PartnerRefused:
    if "SMTPUTF8" in str(failure):
        return PartnerRefused("The mail server takes no address with letters beyond ASCII (SMTPUTF8)")
    return Retryable(f"The mail server does not take it now: {failure}")
