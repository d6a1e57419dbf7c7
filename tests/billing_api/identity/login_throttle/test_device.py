"""Device cookies: only this server can make one, and it counts only for accounts that signed in with it."""

from uuid import UUID

import pytest

from billing_api.identity.login_throttle.device import Devices
from core.crypto.sealing import KeyedHash
from core.ids import new_id

DEVICES = Devices(KeyedHash(bytes(32)))


def test_a_device_keeps_its_name_and_knows_who_signed_in() -> None:
    ada, bob = new_id(), new_id()
    first = DEVICES.cookie_for(None, ada)
    both = DEVICES.cookie_for(first, bob)
    name = DEVICES.name(first, ada)
    assert name is not None
    assert DEVICES.name(both, ada) == DEVICES.name(both, bob) == name
    assert DEVICES.name(first, bob) is None
    assert DEVICES.cookie_for(first, ada) == first, "signing in again changes nothing"
    assert DEVICES.name(DEVICES.cookie_for(None, ada), ada) != name, "another device is another one"


def test_five_accounts_are_known_and_the_oldest_gives_way() -> None:
    users = [new_id() for _ in range(6)]
    cookie = None
    for user_id in users:
        cookie = DEVICES.cookie_for(cookie, user_id)
    assert [DEVICES.name(cookie, user_id) is not None for user_id in users] == [False, True, True, True, True, True]


def test_a_proof_holds_for_its_own_name_under_our_key_only() -> None:
    ada = new_id()
    mine, others = DEVICES.cookie_for(None, ada), DEVICES.cookie_for(None, ada)
    mixed = f"{mine.partition('.')[0]}.{others.partition('.')[2]}"
    assert DEVICES.name(mixed, ada) is None
    assert DEVICES.name(mine, None) is None
    assert Devices(KeyedHash(bytes([1]) * 32)).name(mine, ada) is None


def test_nobody_is_known_nowhere() -> None:
    """An unknown account is looked up like others; no cookie must make it known."""
    assert DEVICES.name(DEVICES.cookie_for(None, UUID(int=0)), None) is None


@pytest.mark.parametrize("junk", ["", ".", "x", "A" * 22, "A" * 22 + "." + "A" * 42, "é" * 22 + "." + "A" * 43, "\x00"])
def test_an_invalid_cookie_is_like_none(junk: str) -> None:
    ada = new_id()
    assert DEVICES.name(junk, ada) is None
    assert DEVICES.name(DEVICES.cookie_for(junk, ada), ada) is not None
