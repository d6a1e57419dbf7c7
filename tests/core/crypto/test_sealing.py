"""Sealed secrets: they open in their own place, with any known key, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.crypto.sealing import CannotOpen, KeyedHash, Sealer

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


@given(st.binary(max_size=200), st.text(max_size=40))
def test_what_is_sealed_opens_in_its_place(secret: bytes, context: str) -> None:
    sealer = Sealer({"k1": OLD})
    assert sealer.open(sealer.seal(secret, context=context), context=context) == secret


def test_the_same_secret_is_never_sealed_alike() -> None:
    sealer = Sealer({"k1": OLD})
    assert sealer.seal(b"secret", context="a") != sealer.seal(b"secret", context="a")


def test_another_place_does_not_open_it() -> None:
    sealer = Sealer({"k1": OLD})
    with pytest.raises(CannotOpen, match="another place"):
        sealer.open(sealer.seal(b"secret", context="licenses:1"), context="licenses:2")


@given(st.integers(min_value=0, max_value=31))
def test_an_altered_value_does_not_open(position: int) -> None:
    sealer = Sealer({"k1": OLD})
    sealed = bytearray(sealer.seal(b"secret", context="a"))
    sealed[position % len(sealed)] ^= 1
    with pytest.raises(CannotOpen):
        sealer.open(bytes(sealed), context="a")


@pytest.mark.parametrize("nonsense", [b"", b".", b"k1", b"k1.", b"k1.short", b"\xff\xfe.x", b"k9." + bytes(40)])
def test_nonsense_does_not_open(nonsense: bytes) -> None:
    with pytest.raises(CannotOpen):
        Sealer({"k1": OLD}).open(nonsense, context="a")


def test_keys_rotate_with_overlap() -> None:
    sealed = Sealer({"k1": OLD}).seal(b"secret", context="a")
    both = Sealer({"k2": NEW, "k1": OLD})
    assert both.open(sealed, context="a") == b"secret"
    assert not both.is_current(sealed)
    assert both.is_current(both.seal(b"secret", context="a"))
    with pytest.raises(CannotOpen, match="no key-encryption key"):
        Sealer({"k2": NEW}).open(sealed, context="a")


@pytest.mark.parametrize("keys", [{"k1": b"short"}, {"": OLD}, {"k.1": OLD}, {"ké": OLD}])
def test_bad_keys_are_refused(keys: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="key-encryption key"):
        Sealer(keys)


def test_a_keyed_hash_tells_kinds_apart() -> None:
    keyed = KeyedHash(OLD)
    assert keyed.digest("a", "value") == keyed.digest("a", "value")
    assert keyed.digest("a", "value") != keyed.digest("b", "value")
    assert keyed.digest("a", "value") != KeyedHash(NEW).digest("a", "value")
    assert len(keyed.digest("a", "value")) == 32
    with pytest.raises(ValueError, match="32 bytes"):
        KeyedHash(b"short")
