"""E-mail addresses: typing errors and header tricks are caught, odd but real ones are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_api.identity.credentials.email_address import fault


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.com",
        "Ada.Lovelace+np@mail.example.co.uk",
        "o'neil@example.ie",
        "x@xn--bcher-kva.example",
        "zoë@bücher.example",
        "!#$%&*/=?^_`{|}~-@example.com",
        f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 57}.com",
    ],
)
def test_an_address_is_taken_as_it_is(address: str) -> None:
    assert fault(address) is None


@pytest.mark.parametrize(
    "address",
    [
        "",
        "@",
        "ada",
        "ada@",
        "@example.com",
        "ada@example",
        "ada@.example.com",
        "ada@example..com",
        "ada@example.com.",
        "ada@@example.com",
        "ada@x@example.com",
        "ada lovelace@example.com",
        " ada@example.com",
        "ada@example.com\n",
        "ada@example.com\r\nBcc: everybody@example.com",
        "ada@example.com\x00",
        "ada@exam\u00a0ple.com",
        "ada@example.com\u2028",
        "ada@exam\u200bple.com",
        "ada\U000e0100@example.com",
        "ada@exam\U000e01efple.com",
        "\u202eada@example.com",
        "Ada <ada@example.com>",
        "ada@example.com,bob@example.com",
        "ada@example.com;bob@example.com",
        '"ada"@example.com',
        "ada(comment)@example.com",
        "ada@[127.0.0.1]",
        "mailto:ada@example.com",
        f"{'a' * 65}@example.com",
        f"ada@{'b' * 250}.com",
    ],
)
def test_what_is_none_is_told_why(address: str) -> None:
    assert fault(address)


@given(st.text(max_size=300))
def test_what_passes_fits_into_one_header_line_as_one_recipient(address: str) -> None:
    if fault(address) is None:
        assert address.split() == [address]
        assert len(address.encode()) > 4
        assert address.count("@") == 1
        assert not set(address) & set("\r\n\x00,;<>")
