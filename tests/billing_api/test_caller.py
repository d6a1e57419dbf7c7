"""Whose a request is taken to be."""

import pytest

from billing_api.caller import network


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("", ""),
        ("unix:", "unix:"),
        ("no address\r\nat all", "no address\r\nat all"),
    ],
)
def test_an_address_belongs_to_a_network(address: str, expected: str) -> None:
    assert network(address) == expected
