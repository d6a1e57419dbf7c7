"""What a searched text is taken for."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_api.operations.search.rules import Asked, recognize
from core.errors import InvalidInput
from core.licensing.key import ALPHABET, generate, hint, read_hint

ID = "0198d2f0-0000-7000-8000-00000000000a"


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("cus_QwErTy12345678", Asked(customer_id="cus_QwErTy12345678")),
        (" sub_1QwErTy12345 ", Asked(subscription_id="sub_1QwErTy12345")),
        ("in_1QwErTy12345", Asked(invoice_id="in_1QwErTy12345")),
        ("pi_3QwErTy12345", Asked(payment_intent_id="pi_3QwErTy12345")),
        (ID, Asked(own_id=UUID(ID))),
        (ID.upper().replace("-", ""), Asked(own_id=UUID(ID))),
        ("…7q4k", Asked(key_hint="7Q4K")),
        ("...7Q4K", Asked(key_hint="7Q4K")),
        ("-7Q4K", Asked(key_hint="7Q4K")),
        ("****7Q4K", Asked(key_hint="7Q4K")),
        ("7Q4K", Asked(part="7q4k", key_hint="7Q4K", invoice_number="7Q4K")),
        ("70il", Asked(part="70il", key_hint="7011", invoice_number="70IL")),
        ("anna", Asked(part="anna", key_hint="ANNA")),
        ("8f2b91d0-0001", Asked(part="8f2b91d0-0001", invoice_number="8F2B91D0-0001")),
        ("8F2B91D0-", Asked(part="8f2b91d0-", invoice_number="8F2B91D0-")),
        ("Byron", Asked(part="byron")),
        ("Ada Byron", Asked(part="ada byron")),
        ("JOSÉ", Asked(part="josé")),
        ("ＡＤＡ", Asked(part="ada")),
        ("sub_urban", Asked(part="sub_urban")),
        ("cus_", Asked(part="cus_")),
        ("100%off", Asked(part="100%off")),
        ("Ada@Example.COM", Asked(part="ada@example.com", address="ada@example.com")),
        ("ada@xn--mnchen-3ya.example", Asked(part="ada@xn--mnchen-3ya.example", address="ada@münchen.example")),
        ("a@b", Asked(address="a@b")),
        ("@example", Asked(part="@example", address="@example")),
    ],
)
def test_a_text_is_taken_for_what_it_looks_like(text: str, asked: Asked) -> None:
    assert recognize(text) == asked


@pytest.mark.parametrize(
    "text", ["", " ", "a", "ab", "…7Q", "%%%", "___", "a.b.c", "a_b", "--", "李明", "....", "\u200b"]
)
def test_too_little_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidInput, match="type three letters or digits in a row") as refused:
        recognize(text)
    assert [(error.field, error.code) for error in refused.value.errors] == [("q", "too_short")]


@given(st.text(max_size=200))
def test_no_text_is_a_crash(text: str) -> None:
    try:
        asked = recognize(text)
    except InvalidInput:
        return
    assert asked != Asked()


def test_a_hint_is_read_as_it_was_given() -> None:
    key = generate(b"a key")
    assert key.endswith(hint(key))
    assert read_hint(f" {hint(key).lower()} ") == hint(key)
    assert read_hint(key) is None
    assert read_hint("uuuu") is None


def test_a_hint_leaves_forty_bits_secret() -> None:
    """As docs/security.md says: of eleven random symbols three are shown; the twelfth is their checksum."""
    symbols = generate(b"a key").removeprefix("NP-").replace("-", "")
    hidden = len(symbols) - len(hint("NP-" + symbols))
    assert len(ALPHABET) ** hidden == 2**40
