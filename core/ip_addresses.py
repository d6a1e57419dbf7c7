"""Network addresses: which one a request comes from, and which belong to one subscriber.

The peer of the connection is the client, unless it is a proxy of ours: then the proxy has written into
`X-Forwarded-For` whom it had in front of it. The header is read from its right end, for each proxy adds what it saw
there, and everything to the left of the first hop that is no proxy of ours may be the client's own invention.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNKNOWN: Final = "unknown"
"""What a peer without an address is called, as one on a Unix socket is."""

_MOST_HOPS: Final = 20
_ONE_SITE: Final = 64
"""Bits of an IPv6 address that are one subscriber's; the others he may choose as he likes (RFC 6177)."""


def told(peer: str, forwarded: Iterable[str], proxies: Sequence[Network]) -> str:
    """`forwarded`: the header's lines in their order. The walk ends before a hop that is no address."""
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
    """Whom a limit counts together: an IPv4 address, or an IPv6 network of the size that one subscriber has."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, _ONE_SITE), strict=False))
    return UNKNOWN if parsed is None else str(parsed)


def _parsed(text: str) -> Address | None:
    """An address, with or without a port; one of IPv4 that is written as one of IPv6 is one of IPv4."""
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
