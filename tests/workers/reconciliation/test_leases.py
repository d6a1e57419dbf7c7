"""Leases in reconciliation: by digest whether there is one, byte by byte when it is the bucket's turn."""

from typing import Any

import msgspec
import pytest

from core.hotstore import codec, keys
from tests.support.databases import change
from tests.workers.scene import Scene


@pytest.mark.parametrize(
    ("change_of", "fault", "at_once"),
    [
        (None, "missing", True),
        ({"token": ""}, "wrong", True),
        ({"version": 0}, "older", True),
        ({"version": 9}, "newer", True),
        ({"signed_at": 1.0}, "older", False),
        ({"token": "forged"}, "wrong", False),
    ],
)
async def test_a_lease_is_compared_and_put_back(
    scene: Scene, change_of: dict[str, Any] | None, fault: str, *, at_once: bool
) -> None:
    """By digest where none of this version stands there; field by field where one does, and is another."""
    await scene.sign_leases()
    right = await scene.redis.get(lease := keys.lease(scene.name))
    assert right is not None
    if change_of is None:
        await scene.redis.delete(lease)
    else:
        other = msgspec.structs.replace(codec.decode_lease(right), **change_of)
        await scene.redis.set(lease, codec.encode_lease(other))
    assert (await scene.look()).state == ("repaired" if at_once else "agreed")
    if not at_once:
        assert (await scene.look(thorough=True)).state == "repaired"
    assert await scene.found() == [("lease", fault, scene.name, "repaired")]
    assert await scene.redis.get(lease) == right
    await scene.agrees()


async def test_a_lease_that_was_withdrawn_is_taken_back(scene: Scene) -> None:
    await scene.sign_leases()
    await change(scene.urls, "DELETE FROM leases")
    await scene.look()
    standing = codec.decode_lease(await scene.redis.get(keys.lease(scene.name)) or b"")
    assert (standing.version, standing.token) == (1, "")
    assert {(subject, fault) for subject, fault, _, _ in await scene.found()} == {("lease", "unknown")}
    await scene.agrees()


async def test_a_lease_of_an_earlier_version_is_no_difference(scene: Scene) -> None:
    """Between a change of the license and its new lease: the next one is signed within milliseconds, or a minute."""
    await scene.sign_leases()
    await change(scene.urls, "UPDATE licenses SET auto_renew = NOT auto_renew")
    await scene.relay.catch_up()
    await scene.agrees()
