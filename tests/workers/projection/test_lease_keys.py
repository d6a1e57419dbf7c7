"""Keys of leases: they overlap, stay public as long as they are needed, and never share a name."""

from datetime import timedelta
from typing import Final

import pytest

from billing_api.licensing.licenses.issuing import Issued
from core.clock import utc_now
from core.licensing.lease import LIFE, OFFLINE_GRACE, LeaseCode, read
from tests.support.databases import change
from tests.support.people import Desk
from tests.workers.projection.lease_world import K1, K2, LeaseWorld
from workers.projection.lease_signer import KeyIdReused

SECOND: Final = timedelta(seconds=1)


async def test_keys_overlap_while_one_replaces_the_other(world: LeaseWorld, desk: Desk, issued: Issued) -> None:
    await world.leases(K1).sweep()
    rotated = world.leases(K2 | K1)
    assert await rotated.sweep() == 0  # an old key's leases are as good as new ones
    newcomer = await desk.a_license(issued.license.user_id)
    world.now = utc_now()
    assert await rotated.sweep() == 1
    assert set(await world.jwks()) == {"k1", "k2"}
    assert {row["kid"] for row in await world.stored()} == {"k1", "k2"}
    for one in (issued, newcomer):
        assert (await world.reading(one)).code is LeaseCode.VALID


async def test_an_old_key_stays_public_until_its_last_lease_is_of_no_use(world: LeaseWorld, issued: Issued) -> None:
    await world.leases(K1).sweep()
    old = await world.projected(issued.license.license_key_hash)
    assert old is not None
    only_new = world.leases(K2)  # the old seed is gone from the settings at once
    assert await only_new.sweep() == 0
    assert set(await world.jwks()) == {"k1", "k2"}
    world.now += timedelta(seconds=LIFE + OFFLINE_GRACE) - SECOND
    await world.leases(K2).sweep()
    assert read(old.token, await world.jwks(), now=world.now.timestamp()).code is LeaseCode.GRACE
    world.now += timedelta(hours=5)
    await world.leases(K2).sweep()
    assert read(old.token, await world.jwks(), now=world.now.timestamp()).code is LeaseCode.UNKNOWN_KEY
    assert (await world.reading(issued)).code is LeaseCode.VALID


async def test_leases_of_a_withdrawn_key_are_signed_again(world: LeaseWorld, issued: Issued) -> None:
    await world.leases(K1).sweep()
    await change(world.urls, "DELETE FROM lease_keys WHERE kid = 'k1'")
    assert await world.leases(K2).sweep() == 1
    assert set(await world.jwks()) == {"k2"}
    assert (await world.reading(issued)).code is LeaseCode.VALID


async def test_a_key_s_name_is_never_given_to_another(world: LeaseWorld, issued: Issued) -> None:
    await world.leases(K1).sweep()
    with pytest.raises(KeyIdReused, match="k1"):
        await world.leases({"k1": K2["k2"]}).sweep()
    assert (await world.reading(issued)).code is LeaseCode.VALID
