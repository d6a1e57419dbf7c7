"""Test bed of every measurement here: a Redis of its own, contenders on one core, load from the other."""

import base64
import http.client
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Final

import httpx
import msgspec

from bench import cost, load
from bench.contenders import HOST, ROOT, Contender, Place
from core.settings import process_environment
from devstack.ports import choose
from devstack.valkey import Valkey
from devstack.waiting import wait_until

_READY_WITHIN: Final = 120.0


@contextmanager
def place(folder: Path) -> Iterator[Place]:
    server = Valkey(data=folder / "valkey", port=choose(HOST), fast=True)
    server.prepare()
    launch = server.launch()
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    env = {"NP_ENVIRONMENT": "devstack", "NP_KEK": f"k1:{key}", "NP_INDEX_KEY": key, "REDIS_URL": server.url}
    process = subprocess.Popen(launch.argv, stdout=subprocess.DEVNULL, **launch.options())  # noqa: S603  # our own words
    with ending(process):
        if not wait_until(server.is_ready, _READY_WITHIN):
            sys.exit("bench: Valkey does not start")
        yield Place(folder, server.url, server.port, process.pid, env)


@contextmanager
def process_of(one: Contender, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    log = folder / "contenders.log"
    with log.open("ab") as out:
        env = process_environment() | dict(one.env) | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(one.argv, env=env, cwd=ROOT, stdout=out, stderr=out)  # noqa: S603  # our own words
    with ending(process):
        yield process


def python_argv(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


@contextmanager
def started(one: Contender, folder: Path, core: int) -> Iterator[tuple[Contender, int]]:
    """The contender and its pid, once it answers."""
    with process_of(one, folder) as process:
        if not wait_until(lambda: _accepts(one.port), _READY_WITHIN):
            sys.exit(f"bench: {one.name} does not start; see {folder / 'contenders.log'}")
        cost.pin(process.pid, {core})
        yield one, process.pid


def until_ready(one: Contender) -> None:
    """Waits until a validator can answer every question: Redis and its marks."""
    while True:
        connection = http.client.HTTPConnection(HOST, one.port, timeout=1)
        try:
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == http.client.OK:
                return
        except OSError:
            pass
        finally:
            connection.close()
        sleep(0.005)


def _accepts(port: int) -> bool:
    try:
        httpx.get(f"http://{HOST}:{port}/", timeout=1)
    except httpx.HTTPError:
        return False
    return True


@contextmanager
def ending(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def load_on(
    one: Contender, requests: Path, connections: int, seconds: float | None, expected: load.Expected = load.VALID
) -> load.Tally:
    """`seconds`: None sends each request once."""
    numbers = (str(one.port), str(requests), str(connections), "once" if seconds is None else str(seconds))
    argv = python_argv("bench.load", *numbers, *(part.decode() for part in expected))
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, check=False)  # noqa: S603  # our own words
    if done.returncode:
        sys.exit(f"bench: the load on {one.name} failed: {done.stderr.decode()[-300:]}")
    return msgspec.json.decode(done.stdout, type=load.Tally)


def command(folder: Path, env: Mapping[str, str], module: str, *arguments: str) -> None:
    """Runs one of our own commands to its end."""
    argv = python_argv(module, *arguments)
    with (folder / "commands.log").open("ab") as out:
        whole = process_environment() | dict(env)
        done = subprocess.run(argv, cwd=ROOT, env=whole, stdout=out, stderr=out, check=False)  # noqa: S603  # our own words
    if done.returncode:
        sys.exit(f"bench: {module} failed; see {folder / 'commands.log'}")
