"""The service as the client meets it: three processes, any of which can be stopped and started again."""

import asyncio
import base64
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

from nextpanel_billing_client import BillingClient

from core.settings import process_environment
from devstack.ports import choose
from tests.support.environment import environment
from tests.support.processes import module
from tests.support.servers import ROOT, DatabaseUrls

T = TypeVar("T")
KEY_ID: Final = "npk_of_the_tests"
SECRET: Final = "a secret of the tests, and no other's"
_PORTS: Final = {"billing_api": "NP_API_PORT", "validator": "NP_VALIDATOR_PORT", "workers": "NP_WORKER_PORT"}


class Service:
    def __init__(self, urls: DatabaseUrls, redis_url: str, folder: Path) -> None:
        self.urls = urls
        self.redis_url = redis_url
        self._folder = folder
        self._ports = {part: str(choose("127.0.0.1")) for part in _PORTS}
        self._running: dict[str, ExitStack] = {}
        more = {variable: self._ports[part] for part, variable in _PORTS.items()} | {
            "NP_VALIDATOR_METRICS_PORT": str(choose("127.0.0.1")),
            "NP_VALIDATOR_PROCESSES": "1",
            "NP_API_PROCESSES": "1",
            "NP_LEASE_KEYS": f"l1:{base64.b64encode(bytes(range(32))).decode()}",
            "NP_DEMO_ADMIN": "admin@example.com:for the tests only",
            "NP_DEMO_CUSTOMER": "customer@example.com:for the tests only",
            "NP_DEMO_PLATFORM_KEY": f"{KEY_ID}:{SECRET}",
        }
        self._env = environment(urls, redis_url=redis_url, **more)
        argv = (sys.executable, "-m", "billing_api", "demo-users")
        subprocess.run(argv, cwd=ROOT, env=process_environment() | self._env, check=True, timeout=60)

    def url(self, part: str) -> str:
        return f"http://127.0.0.1:{self._ports[part]}"

    def start(self, part: str) -> None:
        """Ready when this returns."""
        process = module(part, health=f"{self.url(part)}/health/ready", log=self._folder / f"{part}.log", env=self._env)
        self._running[part] = ExitStack()
        self._running[part].enter_context(process)

    def stop(self, *parts: str) -> None:
        for part in parts or tuple(self._running):
            self._running.pop(part).close()

    def client(self, store: Path, **more: Any) -> BillingClient:
        facts = {"key_id": KEY_ID, "secret": SECRET, "store": store}
        urls = {"validator_url": self.url("validator"), "billing_url": self.url("billing_api")}
        return BillingClient(**{**urls, **facts, **more})


async def eventually(look: Callable[[], Awaitable[T]], *, within: float = 10) -> T:
    """What `look` says once it is something true."""
    async with asyncio.timeout(within):
        while not (seen := await look()):  # noqa: ASYNC110  what is waited for lies in another process
            await asyncio.sleep(0.01)
    return seen
