"""Composition root of a validator process: the only file that knows all of its parts."""

import asyncio
import math
import socket
from collections.abc import Iterator, Mapping
from functools import partial
from time import monotonic
from typing import Final

from prometheus_client.core import CounterMetricFamily

from core.clock import unix_time
from core.health import Dependency
from core.parts import Parts
from core.problems import PAGE_TYPE, PAGES, PATH
from core.rate_limit import RateLimit
from core.settings import ValidatorSettings
from core.telemetry import lines_lost
from validator.calls.gate import Gate
from validator.calls.leases import Leases
from validator.calls.questions import Questions
from validator.calls.reservations import Reservations
from validator.calls.verdicts import Verdicts
from validator.health import Health
from validator.http.answers import Letterhead
from validator.http.protocol import Request
from validator.http.rate_limit_headers import SignatureFailures
from validator.http.routes import PREFIX, Route, Routes
from validator.http.server import Server
from validator.metrics import Figure, Tally, exposition
from validator.redis.link import RedisLink
from validator.reference import openapi
from validator.store.hashes import LicenseHashes
from validator.store.shares import Shares
from validator.store.store import Store

_RENEW_SECONDS: Final = 0.05
_LOOKS: Final = 250  # at Redis during the start: half a second at most
_LOOK_SECONDS: Final = 0.002
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Validator:
    def __init__(self, settings: ValidatorSettings, parts: Parts | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._tally = Tally()
        self._letterhead = Letterhead()
        self._due = self._loop.time()
        self._pause_began = 0.0
        secrets = settings.secrets
        most = Shares.of(settings.remembered_bytes)
        self._store = Store(settings.redis_url, secrets.sealer, near_cache=settings.near_cache, most=most)
        # The handlers of calls, and what they share.
        gate = Gate(self._store.api_keys, RateLimit(settings.license_rate), settings.trusted_proxies)
        hashes = LicenseHashes(secrets.index, secrets.license_checksum_key, most.hashes)
        questions = Questions(hashes, most.questions)
        self._held = {**self._store.held, "questions": questions.held, "hashes": hashes.held}
        verdicts = Verdicts(self._store, gate, questions, self._letterhead, self._tally)
        reservations = Reservations(self._store, gate, hashes, self._letterhead, self._tally)
        leases = Leases(self._store, gate, hashes, self._letterhead)
        # Health, which watches the parts of this process.
        self.parts = parts or Parts()
        self._clock = self.parts.add("clock")
        self._health = Health(self.parts, self._store, self._letterhead)
        self.readiness = self._health.readiness
        health = self._health.routes
        # The routes: calls, pages of problems, documents.
        calls = {
            b"validate-license": verdicts.validate_license,
            b"validate-licenses": verdicts.validate_licenses,
            b"explain": verdicts.explain,
            b"reserve": reservations.reserve,
            b"release": reservations.release,
            b"lease": leases.lease,
        }
        table = {PREFIX + name: Route(b"POST", handler) for name, handler in calls.items()}
        table |= {
            PATH.encode() + code.encode(): Route(b"GET", partial(self._problem, text)) for code, text in PAGES.items()
        }
        table[b"/.well-known/jwks.json"] = Route(b"GET", self._jwks)
        table[b"/schema/openapi.json"] = Route(b"GET", self._openapi)
        # Two servers: one for clients, one for metrics.
        failures = SignatureFailures(settings.signature_failures, settings.trusted_proxies)
        self._server = Server(Routes(table | health, self._letterhead, self._tally, failures), self._tally)
        scraped = {b"/metrics": Route(b"GET", self._metrics)}
        self._metrics_server = Server(Routes(scraped | health, self._letterhead, Tally(), failures), Tally())

    def note_pause(self, phase: str, _told: Mapping[str, int]) -> None:
        """A callback of Python's garbage collector: its pauses are parts of a turn that the timer may miss."""
        if phase == "start":
            self._pause_began = monotonic()
        else:
            now = monotonic()
            self._tally.longest_turn.add(now - self._pause_began, now)

    async def start(self, at: socket.socket, metrics_at: socket.socket) -> None:
        """Serves once Redis has told how old its data is, which takes milliseconds, or after half a second."""
        self._renew()
        self._store.nodes.start()
        self._health.start()
        for _ in range(_LOOKS):
            if self._store.nodes.up and self._store.hears_changes:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        self._renew_trust()  # otherwise the first answers would be told as stale
        await self._server.listen(at)
        await self._metrics_server.listen(metrics_at)

    async def stop(self, seconds: float = 0.0) -> None:
        """Not ready from now on: serves for `seconds`, answers the open requests, then closes its Redis connections."""
        self.readiness.drain()
        await asyncio.gather(self._server.drain(seconds), self._metrics_server.drain(seconds))
        self._health.stop()
        self._store.nodes.close()

    def _renew(self) -> None:
        now = self._loop.time()
        self._tally.lateness.add(now - self._due)
        self._tally.longest_turn.add(now - self._due, now)
        self._due = now + _RENEW_SECONDS
        self._loop.call_at(self._due, self._renew)
        self._renew_trust()
        self._clock.succeeded()

    def _renew_trust(self) -> None:
        """Works out whether all answers are stale at this moment, and renews the parts that responses share."""
        unix, store = unix_time(), self._store
        store.trust.renew(unix)
        self._letterhead.renew(unix, store.nodes.sync.fence.synced_through, doubtful=store.trust.doubtful)

    async def _jwks(self, _request: Request) -> bytes:
        return self._letterhead.text(200, await self._store.jwks(), {"Content-Type": "application/jwk-set+json"})

    def _problem(self, text: bytes, _request: Request) -> bytes:
        """The page that the `type` of a problem leads to."""
        return self._letterhead.text(200, text, {"Content-Type": PAGE_TYPE})

    async def _openapi(self, _request: Request) -> bytes:
        return self._letterhead.text(200, openapi.document(), {"Content-Type": "application/json"})

    async def _metrics(self, _request: Request) -> bytes:
        trips = {_name(link): link.fence.round_trips for link in self._store.nodes.serving}
        page = exposition(self._tally, self._figures(), trips)
        return self._letterhead.text(200, page, {"Content-Type": _METRICS_TYPE})

    def _figures(self) -> Iterator[Figure]:
        store, nodes = self._store, self._store.nodes
        yield Figure("np_validator_connections", "Clients now", lambda: self._server.connections)
        yield Figure("np_validator_cached_licenses", "Licenses remembered", lambda: store.remembered)
        yield from self._memory_figures()
        yield Figure("np_validator_backlog_licenses", "Licenses being read", lambda: store.backlog.length)
        yield Figure("np_validator_backlog_seconds", "How long one more would wait", lambda: store.backlog.wait)
        yield Figure("np_log_lines_lost", "Lines that could not be written to the log", lines_lost, CounterMetricFamily)
        yield Figure("np_validator_license_reads", "Licenses read from Redis", lambda: store.reads, CounterMetricFamily)
        yield Figure("np_validator_cache_age_seconds", "How old cached data may be", lambda: monotonic() - nodes.proven)
        yield Figure(
            "np_validator_as_of_age_seconds", "Since when changes may be missing in Redis", lambda: _since(nodes.sync)
        )
        yield Figure(
            "np_dependency",
            "1 where this process sees a shared server in this state",
            lambda: {f"redis/{state}": state is self._health.redis for state in Dependency},
            labels=("dependency", "state"),
        )
        yield Figure("np_validator_redis_up", "Whether Redis answers", lambda: nodes.up)
        yield Figure("np_validator_redis_writable", "Whether all servers are primaries", lambda: nodes.writable)
        yield Figure(
            "np_validator_redis_unfit",
            "Whether a server evicts keys, or is full",
            lambda: {_name(link): link.unfit is not None for link in nodes.serving},
        )
        yield Figure(
            "np_validator_redis_breaker_open",
            "Whether a server is silent and not asked",
            lambda: {_name(link): link.silent for link in nodes.serving},
        )
        yield Figure(
            "np_validator_fence_lag_seconds",
            "Since when changes may be unknown here",
            lambda: {_name(link): monotonic() - link.fence.proven for link in nodes.serving},
        )

    def _memory_figures(self) -> Iterator[Figure]:
        yield Figure(
            "np_validator_longest_turn_seconds",
            "Longest turn of the loop in the last minute or two, pauses of the collector included",
            lambda: self._tally.longest_turn.seconds,
        )
        yield Figure(
            "np_validator_remembered_bytes",
            "Memory that is used to remember, by what it holds",
            lambda: {name: cache.taken for name, cache in self._held.items()},
            labels=("cache",),
        )
        yield Figure(
            "np_validator_evictions",
            "What was forgotten for lack of room",
            lambda: {name: cache.evicted for name, cache in self._held.items()},
            CounterMetricFamily,
            labels=("cache",),
        )


def _name(link: RedisLink) -> str:
    return f"{link.address.host}:{link.address.port}"


def _since(link: RedisLink) -> float:
    return math.inf if link.fence.synced_through is None else unix_time() - link.fence.synced_through
