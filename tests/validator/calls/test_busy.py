"""A validation under more reads than can be answered in time: told so at once, and nothing that is remembered waits."""

import json
from contextlib import suppress
from typing import Any, NamedTuple

from core.clock import unix_time
from core.errors import Busy
from core.hotstore import keys
from core.rate_limit import RateLimit
from core.resp.waiting import Reply
from devstack.valkey import Valkey
from tests.validator.stage import SECRETS, ApiKey, License, Projection, eventually, finished, request_bytes
from validator.calls.gate import Gate
from validator.calls.questions import Questions
from validator.calls.verdicts import Verdicts
from validator.http.answers import Letterhead
from validator.http.protocol import Request, RequestParser
from validator.metrics import Tally
from validator.store.hashes import LicenseHashes
from validator.store.shares import Shares
from validator.store.store import Store


class Parts(NamedTuple):
    store: Store
    verdicts: Verdicts
    tally: Tally

    async def at_once(self, request: Request) -> bytes:
        """An answer that is given at once; on a machine so busy that the fence is late, that of a later try."""

        async def ask() -> bytes | None:
            answer = self.verdicts.validate_license(request)
            if isinstance(answer, bytes):
                return answer
            if not isinstance(answer, Reply):
                with suppress(Busy):
                    await finished(answer)
            return None

        found = await eventually(ask, lambda answer: answer is not None)
        assert found is not None
        return found

    async def look(self, request: Request) -> bytes:
        answer = self.verdicts.validate_license(request)
        if isinstance(answer, bytes):
            return answer
        if not isinstance(answer, Reply):
            return await finished(answer)

        async def is_done() -> bool:
            return answer.done

        await eventually(is_done, bool)
        assert isinstance(answer.value, bytes)
        return answer.value


def _parts(url: str) -> Parts:
    most = Shares.of(1_000_000)
    store = Store(url, SECRETS.sealer, near_cache=True, most=most)
    tally, letterhead = Tally(), Letterhead()
    letterhead.renew(unix_time(), unix_time())
    gate = Gate(store.api_keys, RateLimit(1e6), ())
    hashes = LicenseHashes(SECRETS.index, SECRETS.license_checksum_key, most.hashes)
    return Parts(store, Verdicts(store, gate, Questions(hashes, most.questions), letterhead, tally), tally)


def _question(api_key: ApiKey, issued: License) -> Request:
    content = {"license_key": issued.key, "feature": "create_database"}
    (request,) = RequestParser().feed(request_bytes(api_key, "validate-license", content))
    assert isinstance(request, Request)
    return request


def _read(answer: bytes) -> tuple[str, dict[str, str], dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(headers["Content-Length"]) == len(body)
    return first, headers, json.loads(body)


async def test_a_miss_is_put_off_at_once_and_a_hit_is_answered(hot_valkey: Valkey, projection: Projection) -> None:
    api_key, known, other = await projection.api_key(), await projection.license(), await projection.license()
    parts = _parts(hot_valkey.url)
    parts.store.nodes.start()
    try:

        async def remembered() -> bool:
            return (
                b'"VALID"' in await parts.look(_question(api_key, known))
                and parts.store.peek(keys.short_hash(known.hash), parts.store.nodes.proven) is not None
            )

        await eventually(lambda: finished(parts.store.condition()), lambda _: parts.store.hears_changes)
        await eventually(remembered, bool)
        refused = parts.tally.problems[503, "busy"]
        while not parts.store.backlog.is_long:
            parts.store.backlog.asked()
        first, headers, problem = _read(await parts.at_once(_question(api_key, other)))
        assert first == "HTTP/1.1 503 Service Unavailable"
        assert headers["Retry-After"] == "1"
        assert (problem["code"], problem["conclusive"]) == ("busy", False)
        assert b'"VALID"' in await parts.at_once(_question(api_key, known))
        assert parts.tally.problems[503, "busy"] == refused + 1
        parts.store.backlog.answered(parts.store.backlog.length)
        assert b'"VALID"' in await parts.look(_question(api_key, other))
    finally:
        parts.store.nodes.close()


def test_the_prepared_answer_is_the_one_that_every_refusal_gets() -> None:
    letterhead = Letterhead()
    letterhead.renew(unix_time(), unix_time())
    first, second, plain = (_read(each) for each in (letterhead.busy(), letterhead.busy(), letterhead.problem(Busy())))
    names = {each[2].pop("request_id") for each in (first, second, plain)}
    assert len(names) == 3, "each answer has a name of its own"
    assert len({len(name) for name in names}) == 1
    assert first == second == plain
