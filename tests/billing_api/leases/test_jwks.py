"""The keys that leases are checked with, as anybody may fetch them."""

from datetime import timedelta

import jwt
import pytest
from litestar import Litestar
from litestar.di import Provide

from billing_api.leases import repository
from billing_api.leases.controller import published_keys
from billing_api.leases.service import LeaseKeys
from core.crypto.lease import LeaseSigner
from db.unit_of_work import Database
from tests.billing_api.conftest import FakeTime
from tests.support.visitors import browser

SIGNER = LeaseSigner({"k2": bytes(range(32)), "k1": bytes(reversed(range(32)))})


@pytest.fixture
def app(database: Database, clock: FakeTime) -> Litestar:
    keys = LeaseKeys(database, clock)
    return Litestar([published_keys], dependencies={"lease_keys": Provide(lambda: keys, sync_to_thread=False)})


async def announce(database: Database, clock: FakeTime, *kids: str) -> None:
    public_keys = {kid: SIGNER.public_keys[kid] for kid in kids}
    async with database.as_system() as tx:
        await repository.announce(tx, public_keys, clock() + timedelta(hours=1))


async def test_anybody_may_have_the_published_keys(app: Litestar, database: Database, clock: FakeTime) -> None:
    await announce(database, clock, "k1", "k2")
    async with browser(app) as web:
        answer = await web.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/jwk-set+json")
    assert set(answer.headers["cache-control"].split(", ")) == {"public", "max-age=300"}
    assert all(set(key) == {"kty", "crv", "alg", "use", "kid", "x"} for key in answer.json()["keys"])
    token = SIGNER.sign(b'{"version":1}')
    published = jwt.PyJWKSet.from_dict(answer.json())
    assert jwt.decode(token, published["k2"], ["EdDSA"]) == {"version": 1}


async def test_a_key_whose_leases_are_of_no_more_use_is_gone(
    app: Litestar, database: Database, clock: FakeTime
) -> None:
    await announce(database, clock, "k1")
    clock.now += timedelta(minutes=30)
    await announce(database, clock, "k2")
    clock.now += timedelta(minutes=31)
    async with browser(app) as web:
        answer = await web.get("/.well-known/jwks.json")
    assert [key["kid"] for key in answer.json()["keys"]] == ["k2"]


async def test_a_kid_keeps_its_key(database: Database, clock: FakeTime) -> None:
    await announce(database, clock, "k1")
    async with database.as_system() as tx:
        await repository.announce(tx, {"k1": SIGNER.public_keys["k2"]}, clock() + timedelta(days=1))
        assert await repository.published(tx, clock()) == {"k1": SIGNER.public_keys["k1"]}
