"""Mailbox keys: one mailbox has one key in every spelling; two mailboxes have two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.mailbox import folded_part, mailbox_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        ("jos\u00e9@example.com", "jose\u0301@example.com"),
        ("JOSE\u0301@example.com", "jos\u00e9@example.com"),
        ("m@m\u00fcnchen.example.com", "m@xn--mnchen-3ya.example.com"),
        ("m@m\u00fcnchen.example.com", "m@XN--MNCHEN-3YA.example.com"),
        ("m@mu\u0308nchen.example.com", "m@xn--mnchen-3ya.example.com"),
        ("m@M\u00dcNCHEN.example.com", "m@xn--mnchen-3ya.example.com"),
        ("w@\uff45xample.com", "w@example.com"),
        ("\uff57@example.com", "w@example.com"),
        ("w\uff20example.com", "w@example.com"),
        ("w@example\u3002com", "w@example.com"),
        ("w@example\uff0ecom", "w@example.com"),
        ("w@example\uff61com", "w@example.com"),
        ("w@\u4f8b\u3048.jp", "w@xn--r8jz45g.jp"),
        ("\ufb01@example.com", "fi@example.com"),
        ("a\u200b\ufe0fda@example.com", "ada@example.com"),
        ("\u212a@example.com", "k@example.com"),
    ],
)
def test_two_spellings_of_one_mailbox_have_one_name(one: str, other: str) -> None:
    assert mailbox_key(one) == mailbox_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@example.com", "ada@example.org"),
        ("ada@example.com", "ada+np@example.com"),
        ("a.da@example.com", "ada@example.com"),
        ("jose@example.com", "jos\u00e9@example.com"),
        ("m@munchen.example.com", "m@m\u00fcnchen.example.com"),
        ("m@stra\u00dfe.example", "m@strasse.example"),
        ("\u0430da@example.com", "ada@example.com"),  # a Cyrillic letter is another one
        ("xn--mnchen-3ya@example.com", "m\u00fcnchen@example.com"),  # Punycode is for domains
    ],
)
def test_two_mailboxes_have_two_names(one: str, other: str) -> None:
    assert mailbox_key(one) != mailbox_key(other)


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "@",
        "a@xn--",
        "a@xn--\u00e9",
        "a@xn--99999999999",
        "a@xn--" + "9" * 100,
        "a@xn--a-b-c.x",
        "no address",
        "a@b@c",
    ],
)
def test_what_is_no_address_is_folded_and_nothing_fails(odd: str) -> None:
    assert mailbox_key(mailbox_key(odd)) == mailbox_key(odd)


def test_a_label_that_decodes_to_another_address_stays_as_it_is() -> None:
    for sign in ("\uff20", "\uff0e"):
        hidden = f"evil{sign}example".encode("punycode").decode()
        assert hidden.isascii()
        address = f"a@xn--{hidden}.example.com"
        assert mailbox_key(address) == address.lower()


@given(st.text(max_size=80))
def test_a_name_is_its_own_name(text: str) -> None:
    assert mailbox_key(mailbox_key(text)) == mailbox_key(text)


@given(st.emails())
def test_an_ordinary_address_is_itself_in_lower_case(email: str) -> None:
    if "xn--" not in email.lower():
        assert mailbox_key(email) == email.lower()
        assert folded_part(email) == email.lower()
