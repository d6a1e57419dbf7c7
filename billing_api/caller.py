"""Who sends a request, as far as the request tells: what sign-in counts by, shows in lists and writes down.

Nothing here is proved, but the device's mark, which is checked where it is read (billing_api/guesses/device.py).
"""

from ipaddress import IPv6Address, ip_address
from typing import Final

import msgspec

DEVICE_COOKIE: Final = "np_device"
_NETWORK_BITS: Final = 64


class Caller(msgspec.Struct, frozen=True):
    """`network`: the address, or for IPv6 the /64 that one subscriber has to himself."""

    network: str
    request_id: str | None = None
    user_agent: str | None = None
    device: str | None = None


def network(address: str) -> str:
    """An address's own network; what is no address (a socket's path) is its own."""
    try:
        known = ip_address(address)
    except ValueError:
        return address
    if not isinstance(known, IPv6Address):
        return str(known)
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return f"{IPv6Address(int(known) >> _NETWORK_BITS << _NETWORK_BITS)}/{_NETWORK_BITS}"
