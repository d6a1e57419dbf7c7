"""Mail relay: the interface for sending a mail, and its HTTP client. A relay accepts each message key once."""

from typing import Final, Protocol

import msgspec

from billing_api.gateways.http_client import PartnerClient
from core.clock import Clock

_TIMEOUT_SECONDS: Final = 10.0
"""Less than a job that delivers a mail is claimed for."""


class OutgoingMail(msgspec.Struct, frozen=True):
    """One message; `key` is the mail's row id, under which the relay accepts it once."""

    to: str
    subject: str
    text: str
    html: str
    key: str


class MailRelay(Protocol):
    async def send(self, mail: OutgoingMail) -> None:
        """Returns once the relay has accepted the mail; raises Retryable or PartnerRefused."""


class HttpMailRelay:
    def __init__(self, base_url: str, clock: Clock) -> None:
        self._client = PartnerClient("The mail relay", base_url, clock, timeout_seconds=_TIMEOUT_SECONDS)

    async def send(self, mail: OutgoingMail) -> None:
        await self._client.post("/messages", mail)

    async def close(self) -> None:
        await self._client.close()
