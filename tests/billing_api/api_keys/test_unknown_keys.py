"""Key ids that are nobody's: the database is asked once in ten seconds, and keys that are there are not mistaken."""

import pytest

from billing_api.api_keys import service as api_keys
from billing_api.api_keys.service import UNKNOWN_FOR, SignatureChecker, SignedRequest
from core.clock import unix_time, utc_now
from core.crypto.signature import sign
from core.errors import SignatureFault
from core.settings import ApiSettings
from db.unit_of_work import Database
from tests.billing_api.usage.test_usage import SECRET, an_api_key
from tests.support.people import Desk


def looked_up(checker: SignatureChecker) -> dict[str, float]:
    """When it was read that there is no such key."""
    return dict(checker._unknown)


INVENTED = "npk_0123456789abcdef"


def asked(key_id: str) -> SignedRequest:
    signature = sign(key_id, SECRET, method="POST", target="/", body=b"", now=unix_time())
    return SignedRequest(signature.encode(), b"POST", b"/", b"", b"")


async def refused(checker: SignatureChecker, key_id: str) -> None:
    with pytest.raises(SignatureFault):
        await checker.check(asked(key_id), "usage")


async def test_an_unknown_key_is_looked_up_once_in_ten_seconds(
    database: Database, settings: ApiSettings, desk: Desk
) -> None:
    now = 1_000.0
    checker = SignatureChecker(database, settings.secrets, utc_now, lambda: now)
    key_id = await an_api_key(desk)
    await refused(checker, INVENTED)
    assert looked_up(checker) == {INVENTED: 1_000.0}
    now += UNKNOWN_FOR - 0.01
    await refused(checker, INVENTED)
    assert looked_up(checker) == {INVENTED: 1_000.0}
    assert (await checker.check(asked(key_id), "usage")).key_id == key_id
    now += 0.01
    await refused(checker, INVENTED)
    assert looked_up(checker) == {INVENTED: 1_010.0}


async def test_invented_ids_take_no_more_memory_than_they_may(
    database: Database, settings: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "_MOST_UNKNOWN", 2)
    checker = SignatureChecker(database, settings.secrets, utc_now)
    for number in range(4):
        await refused(checker, f"npk_{number:016x}")
    assert list(checker._unknown) == [f"npk_{number:016x}" for number in (2, 3)]
