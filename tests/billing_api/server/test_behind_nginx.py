"""Two instances of the API behind Debian's nginx, restarted in turn under load: no caller notices.

Skipped where there is no nginx. What each instance does by itself is in test_draining.py.
"""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from devstack.ports import choose
from devstack.waiting import wait_until
from tests.support.callers import HOST, REFUSED, calling, get
from tests.support.environment import environment
from tests.support.processes import answers, module
from tests.support.servers import DatabaseUrls

NGINX: Final = shutil.which("nginx")
UNSIGNED: Final = (
    b"POST /api/v1/billing/usage HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
)
"""Answered 401. A proxy never sends a POST again of which anything may have been read."""
CONFIGURATION: Final = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream billing_api {{
        {servers}
        keepalive 32;
        keepalive_timeout 5s;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://billing_api;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@contextmanager
def nginx(folder: Path, ports: Sequence[int]) -> Iterator[int]:
    """Its port."""
    port = choose(HOST)
    servers = " ".join(f"server 127.0.0.1:{one} max_fails=0;" for one in ports)
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, servers=servers, port=port))
    process = subprocess.Popen((str(NGINX), "-c", str(file), "-e", str(folder / "error.log")))
    try:
        assert wait_until(lambda: answers(f"http://{HOST}:{port}/health/live"), 30)
        yield port
    finally:
        process.terminate()
        process.wait(10)


class Instances:
    """Of the API, each at its port."""

    def __init__(self, urls: DatabaseUrls, redis_url: str, folder: Path) -> None:
        self.ports = (choose(HOST), choose(HOST))
        self._urls = urls
        self._redis_url = redis_url
        self._folder = folder
        self._running: dict[int, ExitStack] = {}

    def start(self, port: int) -> None:
        more = {"NP_API_PORT": str(port), "NP_DRAIN_SECONDS": "1", "NP_API_METRICS_PORT": str(choose(HOST))}
        env = environment(self._urls, redis_url=self._redis_url, **more)
        running = self._running[port] = ExitStack()
        health = f"http://{HOST}:{port}/health/ready"
        running.enter_context(module("billing_api", health=health, log=self._folder / "log", env=env))

    def stop(self, port: int) -> None:
        self._running.pop(port).close()

    def restart_each(self) -> None:
        for port in self.ports:
            self.stop(port)
            self.start(port)

    def end(self) -> None:
        for port in tuple(self._running):
            self.stop(port)


@pytest.fixture
def instances(database_urls: DatabaseUrls, valkey: str, tmp_path: Path) -> Iterator[Instances]:
    made = Instances(database_urls, valkey, tmp_path)
    try:
        for port in made.ports:
            made.start(port)
        yield made
    finally:
        made.end()


@pytest.mark.timeout(400)
async def test_two_instances_restarted_in_turn_fail_nobody(instances: Instances, tmp_path: Path) -> None:
    with nginx(tmp_path, instances.ports) as port:
        async with calling(port, get("/api/v1/plans"), UNSIGNED, kept=1, new=1) as callers:
            await callers.heard_more(50)
            await asyncio.to_thread(instances.restart_each)
            await callers.heard_more(50)
    assert callers.failed == {401: callers.heard[401]}
    assert REFUSED not in callers.heard
    assert callers.heard[401] > 100
