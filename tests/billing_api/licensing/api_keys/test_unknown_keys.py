"""Unknown key ids: one lookup in ten seconds for each id, and no effect on existing keys."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence

import pytest

from billing_api.licensing.api_keys import repository, signature_checker
from billing_api.licensing.api_keys.signature_checker import UNKNOWN_FOR, SignatureChecker, SignedRequest, Signer
from core.clock import unix_time, utc_now
from core.crypto.sealing import CannotOpen
from core.crypto.signature import sign
from core.errors import SignatureFault
from core.settings import ApiSettings
from db.models.licensing import ApiKey
from db.unit_of_work import Database, SystemTransaction
from tests.billing_api.licensing.usage.test_usage import SECRET, an_api_key
from tests.support.databases import change
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls


class Seconds:
    """A monotonic clock that stands still."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
async def checker(database: Database, settings: ApiSettings, seconds: Seconds) -> AsyncIterator[SignatureChecker]:
    checker = SignatureChecker(database, settings.secrets, utc_now, monotonic=seconds)
    yield checker
    await checker.last_use.written()  # or it would write while the database is being closed


def looked_up(checker: SignatureChecker) -> dict[str, float]:
    """When the lookup found no such key."""
    return dict(checker._unknown)


INVENTED = "npk_0123456789abcdef"


def asked(key_id: str) -> SignedRequest:
    signature = sign(key_id, SECRET, method="POST", target="/", body=b"", now=unix_time())
    return SignedRequest(signature.encode(), b"POST", b"/", b"", b"")


async def refused(checker: SignatureChecker, key_id: str) -> None:
    with pytest.raises(SignatureFault):
        await checker.check(asked(key_id), "usage")


async def test_an_unknown_key_is_looked_up_once_in_ten_seconds(
    checker: SignatureChecker, seconds: Seconds, desk: Desk
) -> None:
    key_id = await an_api_key(desk)
    await refused(checker, INVENTED)
    assert looked_up(checker) == {INVENTED: 1_000.0}
    seconds.now += UNKNOWN_FOR - 0.01
    await refused(checker, INVENTED)
    assert looked_up(checker) == {INVENTED: 1_000.0}
    assert (await checker.check(asked(key_id), "usage")).key_id == key_id
    seconds.now += 0.01
    await refused(checker, INVENTED)
    assert looked_up(checker) == {INVENTED: 1_010.0}


async def test_a_crowd_of_invented_ids_shares_its_statements(
    checker: SignatureChecker, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[int] = []
    real = repository.by_key_ids

    async def counted(tx: SystemTransaction, key_ids: Collection[str]) -> Sequence[ApiKey]:
        statements.append(len(key_ids))
        return await real(tx, key_ids)

    monkeypatch.setattr(repository, "by_key_ids", counted)
    key_id = await an_api_key(desk)
    crowd = [refused(checker, f"npk_{number:016x}") for number in range(300)]
    signer, *_ = await asyncio.gather(checker.check(asked(key_id), "usage"), *crowd)
    assert signer is not None
    assert signer.key_id == key_id  # though it was looked up among them
    assert statements == [301]


async def test_a_key_that_cannot_be_opened_harms_no_other(
    checker: SignatureChecker, database_urls: DatabaseUrls, desk: Desk
) -> None:
    broken, good = await an_api_key(desk), await an_api_key(desk)
    await change(database_urls, "UPDATE api_keys SET secret = 'x' WHERE key_id = :key_id", key_id=broken)
    told = await asyncio.gather(
        *(checker.check(asked(key_id), "usage") for key_id in (broken, good)), return_exceptions=True
    )
    assert isinstance(told[0], CannotOpen)
    assert isinstance(told[1], Signer)


async def test_every_waiting_call_learns_that_the_database_is_away(
    checker: SignatureChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(tx: SystemTransaction, key_ids: Collection[str]) -> Sequence[ApiKey]:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(repository, "by_key_ids", fails)
        asking = (checker.check(asked(f"npk_{number:016x}"), "usage") for number in range(3))
        told = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(each) for each in told] == [ConnectionError] * 3
    await refused(checker, f"npk_{0:016x}")  # and it is asked again


async def test_invented_ids_take_no_more_memory_than_they_may(
    checker: SignatureChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signature_checker, "_MOST_UNKNOWN", 2)
    for number in range(4):
        await refused(checker, f"npk_{number:016x}")
    assert list(checker._unknown) == [f"npk_{number:016x}" for number in (2, 3)]
