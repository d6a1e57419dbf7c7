"""IP addresses: which one a request comes from, which belong to one subscriber, and which networks a key names.

The peer of the connection is the client, unless it is a proxy of ours: such a proxy has added its own peer to
`X-Forwarded-For`. The header is read from its right end, where each proxy adds what it saw. Everything to the left of
the first hop that is no proxy of ours may be invented by the client.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNKNOWN: Final = "unknown"
"""The name of a peer without an address, for instance on a Unix socket."""

MOST_NETWORKS: Final = 16
"""That one key may name."""

_MOST_HOPS: Final = 20
_MAPPED_BITS: Final = 96
"""Leading bits that all IPv4-mapped IPv6 addresses share (RFC 4291, 2.5.5.2)."""
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


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """`address` as `client_address` returns it; UNKNOWN is in no network."""
    parsed = _parsed(address)
    return parsed is not None and _is_among(parsed, networks)


def network(text: str) -> Network:
    """A network in CIDR notation; an address alone is a network of one. ValueError says what to write instead.

    An IPv4-mapped IPv6 network becomes the IPv4 network, as the addresses that it is compared with do.
    """
    try:
        found = ip_network("" if "%" in text else text, strict=False)
    except ValueError:
        raise ValueError("is no network: write one such as 203.0.113.0/24 or 2001:db8::/32") from None
    if ip_address(text.partition("/")[0]) != found.network_address:
        raise ValueError(f"has bits behind its prefix: write {found}")
    mapped = found.network_address.ipv4_mapped if isinstance(found, IPv6Network) else None
    if mapped is not None and found.prefixlen >= _MAPPED_BITS:
        return IPv4Network((mapped, found.prefixlen - _MAPPED_BITS))
    return found


def collapsed(networks: Iterable[Network]) -> list[Network]:
    """The same addresses in as few networks as possible, IPv4 first."""
    every = list(networks)
    fours = collapse_addresses(one for one in every if isinstance(one, IPv4Network))
    return [*fours, *collapse_addresses(one for one in every if isinstance(one, IPv6Network))]


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
