"""Client addresses: our own proxies are believed, other senders of the header are not."""

from ipaddress import ip_network
from typing import Final

import pytest

from core.ip_addresses import (
    UNKNOWN,
    client_address,
    collapsed,
    group,
    is_within,
    network,
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


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("203.0.113.7", "203.0.113.7/32"),
        ("203.0.113.0/255.255.255.0", "203.0.113.0/24"),
        ("2001:DB8:0:0::/32", "2001:db8::/32"),
        ("2001:db8::7", "2001:db8::7/128"),
        ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_is_read_in_its_shortest_form(text: str, read: str) -> None:
    assert str(network(text)) == read


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("203.0.113.7/24", "write 203.0.113.0/24"),
        ("2001:db8::1/32", "write 2001:db8::/32"),
        ("203.0.113.0/33", "is no network"),
        ("203.0.113.0/\u0662\u0664", "is no network"),
        (" 203.0.113.0/24", "is no network"),
        ("fe80::1%eth0", "is no network"),
        ("example.com", "is no network"),
        ("", "is no network"),
        ("1", "is no network"),
    ],
)
def test_what_is_no_network_is_told_with_what_to_write(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        network(text)


def test_networks_are_collapsed_and_those_of_ipv4_come_first() -> None:
    texts = ["2001:db8::/32", "203.0.113.128/25", "203.0.113.0/25", "203.0.113.7/32", "203.0.113.0/24"]
    assert list(map(str, collapsed(map(network, texts)))) == ["203.0.113.0/24", "2001:db8::/32"]
    assert collapsed([]) == []


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("203.0.113.255", True),
        ("203.0.114.0", False),
        ("::ffff:203.0.113.9", True),
        ("2001:db8:ffff::1", True),
        ("2001:db9::1", False),
        (UNKNOWN, False),
        ("", False),
    ],
)
def test_an_address_is_within_networks_of_its_own_family(address: str, inside: bool) -> None:
    assert is_within(address, [network("203.0.113.0/24"), network("2001:db8::/32")]) is inside
    assert not is_within(address, [])
