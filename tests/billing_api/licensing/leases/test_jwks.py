"""JWK set: the public keys of leases, as any client may fetch them."""

from datetime import timedelta

import jwt

from billing_api.licensing.leases import repository
from core.crypto.lease import LeaseSigner
from db.unit_of_work import Database
from tests.billing_api.conftest import Client, FakeTime

SIGNER = LeaseSigner({"k2": bytes(range(32)), "k1": bytes(reversed(range(32)))})


async def announce(database: Database, clock: FakeTime, *kids: str) -> None:
    public_keys = {kid: SIGNER.public_keys[kid] for kid in kids}
    async with database.as_system() as tx:
        await repository.announce(tx, public_keys, clock() + timedelta(hours=1))


async def test_anybody_may_have_the_published_keys(client: Client, database: Database, clock: FakeTime) -> None:
    await announce(database, clock, "k1", "k2")
    answer = await client.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/jwk-set+json")
    assert set(answer.headers["cache-control"].split(", ")) == {"public", "max-age=300"}
    assert all(set(key) == {"kty", "crv", "alg", "use", "kid", "x"} for key in answer.json()["keys"])
    token = SIGNER.sign(b'{"version":1}')
    published = jwt.PyJWKSet.from_dict(answer.json())
    assert jwt.decode(token, published["k2"], ["EdDSA"]) == {"version": 1}


async def test_a_key_whose_leases_are_of_no_more_use_is_gone(
    client: Client, database: Database, clock: FakeTime
) -> None:
    await announce(database, clock, "k1")
    clock.now += timedelta(minutes=30)
    await announce(database, clock, "k2")
    clock.now += timedelta(minutes=31)
    answer = await client.get("/.well-known/jwks.json")
    assert [key["kid"] for key in answer.json()["keys"]] == ["k2"]


async def test_a_kid_keeps_its_key(database: Database, clock: FakeTime) -> None:
    await announce(database, clock, "k1")
    async with database.as_system() as tx:
        await repository.announce(tx, {"k1": SIGNER.public_keys["k2"]}, clock() + timedelta(days=1))
        assert await repository.published(tx, clock()) == {"k1": SIGNER.public_keys["k1"]}
