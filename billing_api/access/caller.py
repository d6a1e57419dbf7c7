"""Caller: what a request says of its sender: address, user agent and device cookie.

Sign-in counts attempts by these facts, shows them in the list of sessions and writes them into the audit trail. None
of them is proved. Only the device cookie can be checked: billing_api/identity/login_throttle/device.py does it.
"""

from typing import Final

import msgspec

from core import ip_addresses

DEVICE_COOKIE: Final = "np_device"


class Caller(msgspec.Struct, frozen=True):
    address: str
    request_id: str | None = None
    user_agent: str | None = None
    device: str | None = None

    @property
    def network(self) -> str:
        """The address; for IPv6 the /64 network, because one subscriber has all of it."""
        return ip_addresses.group(self.address)
