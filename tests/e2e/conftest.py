"""The whole stack as `make up` starts it, with its own ports and data, once for each run of these tests."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from core.settings import process_environment
from devstack.ports import choose
from devstack.visitor import Visitor, eventually
from devstack.waiting import wait_until
from tests.support.databases import change
from tests.support.secrets_in_use import stack as looked_through
from tests.support.servers import ROOT, DatabaseUrls, slot

_READY_WITHIN = 240.0
_STOPS_WITHIN = 30.0


class RunningStack:
    """A supervisor, and the present content of its run.json."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._run = data / "run.json"
        self._database = DatabaseUrls(*[str(self.facts()["owner_database_url"])] * 3)

    def facts(self) -> dict[str, object]:
        """Waits until a killed part is started again."""
        wait_until(self._run.exists, _READY_WITHIN)
        facts: dict[str, object] = json.loads(self._run.read_text(encoding="utf-8"))
        return facts

    def pids(self, part: str) -> list[int]:
        pids = self.facts()["pids"]
        assert isinstance(pids, dict)
        found: list[int] = pids[part]
        return found

    def kill(self, part: str) -> None:
        """SIGKILL to every process of a part."""
        for pid in self.pids(part):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def let_claims_run_out(self) -> None:
        """What a killed worker had claimed is due now, and not only after up to 30 seconds."""
        statement = "UPDATE outbox SET due_at = now() WHERE done_at IS NULL AND dead_at IS NULL"
        asyncio.run(change(self._database, statement))

    def restarted(self, part: str, before: list[int]) -> bool:
        """Whether the part runs in other processes than before."""
        return wait_until(lambda: bool(now := set(self.pids(part))) and not now & set(before), _READY_WITHIN)


@contextmanager
def running_stack() -> Iterator[RunningStack]:
    """A stack of its own, stopped at the end."""
    with slot() as folder, looked_through(folder / "stack"):
        names = ("NP_API_PORT", "NP_VALIDATOR_PORT", "NP_NEXTPANEL_PORT", "NP_STRIPE_PORT", "NP_PORTAL_PORT")
        ports = {name: str(choose("127.0.0.1")) for name in names}
        env = {name: value for name, value in process_environment().items() if not name.startswith(("NP_", "STRIPE_"))}
        env |= ports | {"NP_DATA": str(folder / "stack"), "NP_VALIDATOR_PROCESSES": "1", "NP_API_PROCESSES": "1"}
        log = folder / "up.log"
        with log.open("ab") as out:
            argv = (sys.executable, "-m", "devstack", "up", "--with-parent")
            supervisor = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=out, stderr=out)
        run = folder / "stack" / "run.json"
        try:
            wait_until(lambda: run.exists() or supervisor.poll() is not None, _READY_WITHIN)
            assert run.exists(), log.read_text(errors="replace")[-3000:]
            yield RunningStack(folder / "stack")
        finally:
            supervisor.send_signal(signal.SIGINT)
            try:
                supervisor.wait(_STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                supervisor.kill()
                supervisor.wait()


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    with running_stack() as stack:
        yield stack


@pytest.fixture
def visitor(stack: RunningStack) -> Iterator[Visitor]:
    """Removes all faults of the partners' simulators before a test."""
    with httpx.Client(timeout=15) as http:
        visitor = Visitor(stack.facts(), http)
        yield visitor
        for simulator in ("stripe", "nextpanel", "mail"):
            http.delete(f"{visitor.simulator(simulator)}/_sim/faults")
        eventually("a calm stack", lambda: _answers(http, visitor), 30)


def _answers(http: httpx.Client, visitor: Visitor) -> bool:
    simulators = (f"{url}/health/ready" for url in visitor.facts["simulators"].values() if url)
    try:
        return serves(visitor) and all(http.get(url).is_success for url in simulators)
    except httpx.HTTPError:
        return False


def serves(visitor: Visitor, *parts: str) -> bool:
    """Whether these parts, or all of ours, are ready and reach the servers that they need."""
    for part in parts or ("billing_api", "validator", "workers"):
        url = f"{visitor.facts[part]}/health"
        try:
            if not visitor.http.get(f"{url}/ready").is_success:
                return False
            if visitor.http.get(f"{url}/dependencies").json()["status"] != "ok":
                return False
            # Connections of its pool that a killed database has left fail one request each.
            if part == "billing_api" and not visitor.http.get(f"{visitor.facts[part]}/api/v1/plans").is_success:
                return False
        except httpx.HTTPError:
            return False
    return True
