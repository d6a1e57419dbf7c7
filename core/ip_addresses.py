"""IP addresses: which one a request comes from, and which belong to one subscriber.

The peer of the connection is the client, unless it is a proxy of ours: such a proxy has added its own peer to
`X-Forwarded-For`. The header is read from its right end, where each proxy adds what it saw. Everything to the left of
the first hop that is no proxy of ours may be invented by the client.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNKNOWN: Final = "unknown"
"""The name of a peer without an address, for instance on a Unix socket."""

_MOST_HOPS: Final = 20
_ONE_SITE: Final = 64
"""Leading bits of an IPv6 address that name the subscriber, who may choose all others freely (RFC 6177)."""


def client_address(peer: str, forwarded: Iterable[str], proxies: Sequence[Network]) -> str:
    """The client's address. `forwarded`: the header's lines in their order; a hop that is no address ends the walk."""
    address = _parsed(peer)
    if address is None:
        return UNKNOWN
    hops = [hop for line in forwarded for hop in line.split(",")]
    for hop in reversed(hops[-_MOST_HOPS:]):
        if not _is_among(address, proxies):
            break
        further = _parsed(hop)
        if further is None:
            break
        address = further
    return str(address)


def group(address: str) -> str:
    """What a limit counts as one: an IPv4 address, or an IPv6 network of the size that one subscriber has."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, _ONE_SITE), strict=False))
    return UNKNOWN if parsed is None else str(parsed)


def _parsed(text: str) -> Address | None:
    """An address, with or without a port. An IPv4-mapped IPv6 address becomes the IPv4 address."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_among(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
