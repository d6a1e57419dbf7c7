"""Client addresses: our own proxies are believed, other senders of the header are not."""

from ipaddress import ip_network
from typing import Final

import pytest

from core.ip_addresses import (
    UNKNOWN,
    client_address,
    group,
)

PROXIES: Final = tuple(ip_network(text) for text in ("10.0.0.0/8", "fd00::/8", "192.0.2.7/32"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.5", [], "203.0.113.5"),
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1, 192.0.2.7,10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, <script>, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["2001:DB8:0:0::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("fe80::1%eth0", [], "fe80::1"),
        ("", ["198.51.100.1"], UNKNOWN),
        ("/run/socket", ["198.51.100.1"], UNKNOWN),
        ("10.0.0.1", [",".join(["198.51.100.1"] + ["10.0.0.2"] * 10_000)], "10.0.0.2"),
    ],
)
def test_the_client_is_the_last_hop_that_is_no_proxy_of_ours(peer: str, forwarded: list[str], client: str) -> None:
    assert client_address(peer, forwarded, PROXIES) == client


def test_without_proxies_the_header_is_not_looked_at() -> None:
    assert client_address("10.0.0.1", ["198.51.100.1"], ()) == "10.0.0.1"


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        (UNKNOWN, UNKNOWN),
    ],
)
def test_limits_count_an_ipv6_subscriber_as_one(address: str, counted_as: str) -> None:
    assert group(address) == counted_as
