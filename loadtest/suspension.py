"""`python -m loadtest.suspension --rate 5000`: for how long a suspended license is still accepted, under load.

An administrator suspends one license after another over the API while the validator answers a constant rate of other
questions. Several connections, spread over the validator's processes by the kernel, ask about the license meanwhile; it
counts as refused when the last of them was answered SUSPENDED. All were answered VALID just before, so every process
has it in its cache, which is the hard case.

COMMIT lies somewhere between the sending of the suspension and the API's answer. Both times are shown; the promise is
checked against the longer one.
"""

import argparse
import asyncio
import random
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import httpx
import msgspec
import uvloop

from core.clock import rfc3339, unix_time, utc_now
from core.counted import counted
from core.licensing.verdict import Code
from loadtest import answer, results
from loadtest.arguments import positive_count, positive_number
from loadtest.driver import CannotDrive, Driven, Plan
from loadtest.driving import Target, drivers, share, target_of
from loadtest.histogram import Histogram
from loadtest.recording import Recorder, curve
from loadtest.results import Check, Number, Result
from loadtest.seed_files import SeedFiles
from loadtest.signed_calls import VALIDATE, request
from loadtest.stack import Login, NoStack, Stack, data_folder, read_stack

_PAUSE: Final = 0.002
_PATIENCE: Final = 10.0
_ASKED_AGAIN: Final = 3
_BEFORE_AND_AFTER: Final = 1.0
_CALLS_EACH: Final = 3
"""To the API for each license: find, suspend, resume."""
_CALLS_AT_ONCE: Final = 90
"""Of the 100 that an administrator has to begin with; signing in and the license that was not active take some."""
_UNTIL_THERE_ARE_MORE: Final = 2.0
"""Seconds in which the limit (100 a minute) grows by as many calls as a license takes."""
_REASON: Final = {"reason": "load test"}


class Lag(NamedTuple):
    """Seconds until the last connection was answered SUSPENDED. Below 0 where that was before the API's answer."""

    from_sending: float
    from_answer: float
    relapses: int
    """Answers other than SUSPENDED that came after the first one on the same connection."""


class Trial(NamedTuple):
    suspensions: int
    pace: float
    """Seconds from one suspension to the next."""
    probes: int
    """Connections that ask about the suspended license."""
    patience: float = _PATIENCE
    """Seconds after which the run ends: a suspension without effect is worse than a slow one."""


class Probe:
    """One connection that asks again and again, each question after the last answer."""

    def __init__(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = urlsplit(target.url).netloc
        self._key = target.key
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, target: Target) -> "Probe":
        where = urlsplit(target.url)
        return cls(target, *await asyncio.open_connection(where.hostname, where.port))

    def close(self) -> None:
        self._writer.close()

    async def code(self, license_key: str) -> str:
        body = msgspec.json.encode({"license_key": license_key, "feature": "create_database"})
        self._writer.write(request(self._host, VALIDATE, body, self._key, unix_time()))
        data = b""
        while (seen := answer.read(data)) is None:
            piece = await self._reader.read(65_536)
            if not piece:
                raise CannotDrive("the validator closed a connection that was asking")
            data += piece
        return answer.verdict_code(seen.body)

    async def until(self, license_key: str, wanted: str, patience: float) -> float:
        """When the answer first was `wanted` (perf_counter)."""
        async with _bounded(patience, wanted):
            while await self.code(license_key) != wanted:  # noqa: ASYNC110  the server does not tell, it has to be asked
                await asyncio.sleep(_PAUSE)
        return perf_counter()

    async def relapses(self, license_key: str) -> int:
        return sum([await self.code(license_key) != Code.SUSPENDED for _ in range(_ASKED_AGAIN)])


@asynccontextmanager
async def _bounded(patience: float, wanted: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(patience):
            yield
    except TimeoutError:
        raise CannotDrive(f"{patience:g} s, and the validator has not said {wanted}") from None


class Administrator:
    def __init__(self, http: httpx.AsyncClient) -> None:
        """`http` knows the API's address."""
        self._http = http
        self._calls_left = _CALLS_EACH

    async def sign_in(self, login: Login) -> None:
        granted = await self._call("/auth/login", msgspec.to_builtins(login))
        self._http.headers["Authorization"] = f"Bearer {granted['access_token']}"

    async def find(self, license_key: str) -> str | None:
        """The id of an active license; None where it is in another state."""
        found = await self._call("/admin/licenses/find-by-key", {"license_key": license_key})
        if self._calls_left < _CALLS_EACH:  # the measured call must not be the one that waits
            await asyncio.sleep(_UNTIL_THERE_ARE_MORE)
        return str(found["id"]) if found["status"] == "active" else None

    async def move(self, license_id: str, verb: str) -> None:
        await self._call(f"/admin/licenses/{license_id}/{verb}", _REASON)

    async def _call(self, path: str, content: dict[str, str]) -> dict[str, str]:
        response = await self._http.post(f"/api/v1{path}", json=content)
        if response.is_error:
            raise CannotDrive(f"{path} answered {response.status_code}: {response.text[:200]}")
        left = re.search(r'"user";r=(\d+)', response.headers.get("RateLimit", ""))
        self._calls_left = int(left[1]) if left else self._calls_left
        body: dict[str, str] = response.json()
        return body


async def suspend_many(stack: Stack, target: Target, trial: Trial, start: float) -> list[Lag]:
    """One after another from `start` on; CannotDrive where one is not refused in time."""
    async with AsyncExitStack() as cleanup:
        http = await cleanup.enter_async_context(httpx.AsyncClient(base_url=stack.billing_api, timeout=_PATIENCE))
        administrator = Administrator(http)
        await administrator.sign_in(stack.admin)
        asking = [await Probe.connect(target) for _ in range(trial.probes)]
        for probe in asking:
            cleanup.callback(probe.close)
        lags: list[Lag] = []
        for license_key in random.sample(target.license_keys, len(target.license_keys)):
            license_id = await administrator.find(license_key)
            if license_id is not None:
                await asyncio.sleep(max(0.0, start + len(lags) * trial.pace - perf_counter()))
                lags.append(await _suspend(administrator, asking, (license_id, license_key), trial.patience))
            if len(lags) == trial.suspensions:
                return lags
    raise CannotDrive(f"only {len(lags)} of the seeded licenses are active")


async def _suspend(
    administrator: Administrator, probes: Sequence[Probe], which: tuple[str, str], patience: float
) -> Lag:
    """`which`: the license's id and key."""
    license_id, key = which
    await asyncio.gather(*(probe.until(key, Code.VALID, patience) for probe in probes))
    sent = perf_counter()
    answered, *refused = await asyncio.gather(
        _timed(administrator, license_id), *(probe.until(key, Code.SUSPENDED, patience) for probe in probes)
    )
    relapses = sum(await asyncio.gather(*(probe.relapses(key) for probe in probes)))
    await administrator.move(license_id, "resume")
    return Lag(max(refused) - sent, max(refused) - answered, relapses)


async def _timed(administrator: Administrator, license_id: str) -> float:
    await administrator.move(license_id, "suspend")
    return perf_counter()


def measure(stack: Stack, target: Target, plan: Plan, trial: Trial, p99_ms: float) -> Result:
    began = rfc3339(utc_now())
    with drivers(target, share(plan, 1)) as running:
        start = running.start() + plan.warm_up + _BEFORE_AND_AFTER
        lags = uvloop.run(suspend_many(stack, target, trial, start))
        ended = perf_counter() - start
        load = running.finish()[0]
    # Both latencies in microseconds; COMMIT lies between them.
    sending, answering = Histogram(), Histogram()
    for lag in lags:
        sending.record(round(lag.from_sending * 1e6))
        answering.record(round(lag.from_answer * 1e6))
    return Result(
        tool="suspension",
        title=f"Suspensions under {counted(round(plan.rate), 'validation', ',')} a second",
        began=began,
        settings=plan.settings | trial._asdict(),
        facts=_facts(sending, answering, load.recorder),
        requests=len(lags),
        curve=curve(sending),
        moments=load.recorder.moments(),
        outcomes=dict(load.recorder.outcomes),
        put_off=dict(load.recorder.put_off),
        faults=dict(load.recorder.faults),
        checks=[
            Check("p99 in ms, from sending to refused everywhere", p99_ms, sending.percentile(99) / 1000),
            Check("licenses let pass again after a refusal", 0, sum(lag.relapses for lag in lags)),
            Check("requests of the load that failed", 0, (load.recorder.faults + load.recorder.put_off).total()),
            Check("seconds for which the load had ended before the last suspension", 0, _overrun(load, ended)),
        ],
    )


def _overrun(load: Driven, ended: float) -> float:
    return max(0.0, ended + _BEFORE_AND_AFTER - load.ended)


def _facts(sending: Histogram, answering: Histogram, load: Recorder) -> dict[str, str | Number]:
    whole = load.whole()
    facts: dict[str, str | Number] = {"suspensions": sending.count}
    for name, lags in (("sending", sending), ("the API's answer", answering)):
        for percent in (50, 99, 100):
            facts[f"from {name} p{percent} ms"] = lags.percentile(percent) / 1000
    return facts | {"requests of the load": whole.count, "latency of the load p99 ms": whole.percentile(99) / 1000}


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    data = data_folder()
    trial = Trial(chosen.suspensions, chosen.pace, chosen.probes, chosen.patience)
    try:
        stack = read_stack(data)
        target = target_of(stack, SeedFiles(data))
        plan = Plan(
            url=target.url,
            rate=chosen.rate,
            connections=chosen.connections,
            seconds=_longest(trial) + 2 * _BEFORE_AND_AFTER,
            warm_up=chosen.warm_up,
        )
        result = measure(stack, target, plan, trial, chosen.p99_ms)
    except (CannotDrive, NoStack, httpx.HTTPError, OSError) as fault:
        print(f"suspension: {type(fault).__name__}: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return results.conclude(result, chosen.out, data)


def _longest(trial: Trial) -> float:
    """Seconds that the suspensions may take: those beyond the administrator's first hundred calls have to wait."""
    waiting = max(0, trial.suspensions - _CALLS_AT_ONCE // _CALLS_EACH)
    return trial.suspensions * trial.pace + waiting * _UNTIL_THERE_ARE_MORE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.suspension", description=__doc__)
    parser.add_argument("--rate", type=positive_number, default=5000, help="validations a second meanwhile")
    parser.add_argument("--connections", type=positive_count, default=1000, help="for the load")
    parser.add_argument("--suspensions", type=positive_count, default=100)
    parser.add_argument("--pace", type=positive_number, default=0.3, help="seconds from one suspension to the next")
    parser.add_argument(
        "--probes", type=positive_count, default=8, help="connections that ask about the suspended license"
    )
    parser.add_argument(
        "--patience", type=positive_number, default=_PATIENCE, help="seconds until a suspension must be heeded"
    )
    parser.add_argument("--warm-up", type=float, default=3)
    parser.add_argument("--p99-ms", type=positive_number, default=250)
    parser.add_argument("--out", type=Path, help="default: a file under $NP_DATA/results")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
