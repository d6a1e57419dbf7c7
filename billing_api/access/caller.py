"""Who sends a request, as far as the request tells: what sign-in counts by, shows in lists and writes down.

Nothing here is proved, but the device's mark, which is checked where it is read
(billing_api/identity/login_throttle/device.py).
"""

from typing import Final

import msgspec

from core import ip_addresses as addresses

DEVICE_COOKIE: Final = "np_device"


class Caller(msgspec.Struct, frozen=True):
    address: str
    request_id: str | None = None
    user_agent: str | None = None
    device: str | None = None

    @property
    def network(self) -> str:
        """The address, or for IPv6 the /64 that one subscriber has to himself."""
        return addresses.group(self.address)
