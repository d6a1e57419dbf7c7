"""Test bed of the API's benchmark: servers, signed-in customers, and how each contender is started."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from bench import contenders, running
from bench.api import people
from bench.api.measuring import Bed, Running
from bench.api.people import Crowd
from bench.contenders import HOST, Absent, Contender
from bench.ledger import Ledger
from devstack.ports import choose

OURS: Final = "billing API"
YARDSTICK: Final = "FastAPI"
_PACKAGES: Final = (
    *("fastapi>=0.115", "uvicorn[standard]>=0.34", "sqlalchemy[asyncio]>=2.0", "asyncpg>=0.30"),
    *("redis[hiredis]>=5.3,<6", "pyjwt>=2.10", "stripe>=16.1,<17", "httpx>=0.28"),
)
_WIDE: Final = ",".join(f"{name}=1000000/60" for name in ("user", "address", "login"))
"""Limits that Redis counts and nobody reaches. It counts microseconds: a request must cost at least one."""


class Stage(NamedTuple):
    bed: Bed
    crowd: Crowd
    env: Mapping[str, str]
    """Settings of the billing API."""
    serving: int
    """The core of the contenders."""

    @contextmanager
    def started(self, one: Contender) -> Iterator[Running]:
        with running.started(one, self.bed.folder, self.serving) as (contender, pid):
            yield Running(contender, pid)

    def billing_api(self) -> Contender:
        return self._ours("billing_api", {})

    def probed(self, more: Mapping[str, str] | None = None) -> Contender:
        """The billing API with probe routes. `more`: further settings."""
        return self._ours("bench.api.probed", more or {})

    def fastapi(self) -> Contender | Absent:
        python = contenders.environment_of(self.bed.folder / "fastapi-api", _PACKAGES, YARDSTICK)
        if isinstance(python, Absent):
            return python
        return contenders.uvicorn(YARDSTICK, python, "bench.yardsticks.fastapi_api.app:app", self.yard_env())

    def yard_env(self) -> dict[str, str]:
        """Settings of the yardstick."""
        return {
            "YARD_DATABASE_URL": self.bed.books.owner_url.replace("postgresql://", "postgresql+asyncpg://"),
            "YARD_JWT_SECRET": self.crowd.yard_secret,
            "REDIS_URL": self.env["REDIS_URL"],
            "STRIPE_API_BASE": self.env["STRIPE_API_BASE"],
        }

    def _ours(self, module: str, more: Mapping[str, str]) -> Contender:
        port = choose(HOST)
        ports = {"NP_API_PORT": str(port), "NP_API_METRICS_PORT": str(choose(HOST)), "NP_API_PROCESSES": "1"}
        return Contender(OURS, running.python_argv(module), port, {**self.env, **ports, **more})


@contextmanager
def stage_with(books: Ledger, serving: int, connections: int, seconds: float) -> Iterator[Stage]:
    """`books`: with seeded customers and licenses."""
    with _stripe_stand_in(books.folder) as stripe:
        env = {**books.env, "NP_LOG_LEVEL": "info", "NP_LIMITS": _WIDE, "STRIPE_API_BASE": stripe}
        crowd = asyncio.run(people.gather(books, env))
        yield Stage(Bed(books, books.folder, connections, seconds), crowd, env, serving)


@contextmanager
def _stripe_stand_in(folder: Path) -> Iterator[str]:
    """Its base URL."""
    port = choose(HOST)
    one = Contender("stand-in for Stripe", running.python_argv("bench.api.stripe_stand_in", str(port)), port, {})
    with running.process_of(one, folder):
        yield f"http://{HOST}:{port}"
