"""Request signatures (NPv1), checked against the vectors that client authors get."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from core.crypto import signature
from core.crypto.signature import Signature, SignatureDefect, Verifier

VECTORS: Final[dict[str, Any]] = json.loads(
    (Path(__file__).resolve().parents[3] / "docs" / "signature-vectors.json").read_text("utf-8")
)


def named(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", VECTORS[kind], ids=lambda vector: str(vector.get("name", vector)))


def parts(vector: dict[str, Any], **changes: bytes) -> dict[str, bytes]:
    names = ("method", "target", "idempotency_key", "body")
    return {name: vector[name].encode() for name in names} | changes


@named("accepted_if")
def test_a_vector_is_accepted(vector: dict[str, Any]) -> None:
    parsed = signature.parse(vector["header"].encode())
    assert isinstance(parsed, Signature)
    assert parsed.key_id == vector["key_id"].encode()
    assert signature.holds(parsed, vector["secret"].encode(), **parts(vector))


@named("accepted_if")
def test_a_vector_signs_what_it_says(vector: dict[str, Any]) -> None:
    expected = hmac.new(vector["secret"].encode(), vector["string_to_sign"].encode(), "sha256").hexdigest()
    assert vector["header"].endswith(expected)


@named("accepted_if")
def test_nothing_signed_can_be_changed(vector: dict[str, Any]) -> None:
    parsed = signature.parse(vector["header"].encode())
    assert isinstance(parsed, Signature)
    secret = vector["secret"].encode()
    for name, value in parts(vector).items():
        assert not signature.holds(parsed, secret, **parts(vector, **{name: value + b"x"}))
    assert not signature.holds(parsed, secret + b"x", **parts(vector))
    assert not signature.holds(structs.replace(parsed, t=b"1767225602"), secret, **parts(vector))
    assert not signature.holds(structs.replace(parsed, nonce=b"0" * 32), secret, **parts(vector))


@named("refused")
def test_a_header_that_is_not_of_this_form_is_refused(vector: dict[str, Any]) -> None:
    header = vector["header"]
    fault = signature.parse(None if header is None else header.encode())
    assert isinstance(fault, SignatureDefect)
    assert fault.name.lower() == vector["fault"]


@named("times")
def test_a_signature_has_its_time(vector: dict[str, Any]) -> None:
    parsed = Signature(b"k", str(vector["t"]).encode(), b"0" * 32, b"0" * 64)
    fault = signature.check_time(parsed, vector["now"])
    assert (None if fault is None else fault.name.lower()) == vector["fault"]


_HEX = st.text("0123456789abcdef", min_size=32, max_size=32)
_PIECES = st.one_of(
    st.sampled_from(["k=k", "k=", "t=5", ",", ",t=", ",n=", ",v1=", " ", "\n", "1", "A", "g", "\x7f"]), _HEX
)
_GOOD = st.builds(
    lambda key, t, nonce, v1: f"k={key},t={t},n={nonce},v1={v1}{v1}",
    st.sampled_from(["k", "l"]), st.sampled_from([5, 400, 1000]), _HEX, _HEX,
)  # fmt: skip


@given(st.lists(st.one_of(_GOOD, st.lists(_PIECES, max_size=9).map("".join), st.tuples(_GOOD, _PIECES).map("".join))))
def test_a_reader_says_what_parse_and_check_time_say(headers: list[str]) -> None:
    reader = signature.SignatureReader()
    for header in [None, *(text.encode() for text in headers), *(text.encode() for text in headers)]:
        parsed = signature.parse(header)
        expected = parsed if isinstance(parsed, SignatureDefect) else signature.check_time(parsed, 400.0) or parsed
        assert reader.read(header, 400.0) == expected


def test_a_reader_does_not_remember_without_end() -> None:
    reader = signature.SignatureReader()
    for number in range(10_000):
        reader.read(f"k=k,t={number},n={'0' * 32},v1={'0' * 64}".encode(), 1.0)
    assert len(reader._fronts) <= 4096


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_the_prepared_secret_is_an_hmac(secret: bytes, body: bytes) -> None:
    """Whatever its length: the pads are ours, the definition is RFC 2104's."""
    made = Verifier(secret).mac(b"POST", b"/a", b"1", b"2", b"3", signature.body_digest(body))
    digest = hashlib.sha256(body).hexdigest()
    assert made == hmac.new(secret, f"NPv1\nPOST\n/a\n1\n2\n3\n{digest}".encode(), "sha256").hexdigest()


@given(st.text(min_size=1, max_size=40), st.binary(max_size=100), st.booleans())
def test_what_is_signed_holds(secret: str, body: bytes, keyed: bool) -> None:
    key = "order-1" if keyed else ""
    header = signature.sign("k-1", secret, method="POST", target="/x?y", body=body, now=5.9, idempotency_key=key)
    parsed = signature.parse(header.encode())
    assert isinstance(parsed, Signature)
    assert parsed.t == b"5"
    assert signature.holds(
        parsed, secret.encode(), method=b"POST", target=b"/x?y", idempotency_key=key.encode(), body=body
    )


def test_two_signatures_of_one_request_differ() -> None:
    made = {signature.sign("k", "s", method="POST", target="/", body=b"", now=1.0) for _ in range(3)}
    assert len(made) == 3
