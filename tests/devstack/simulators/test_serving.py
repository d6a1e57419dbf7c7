import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from core.settings import process_environment
from tests.devstack.simulators.conftest import Start
from tests.devstack.simulators.running import READY_WITHIN, ROOT, eventually, free_port


def test_it_ends_when_told_to(start: Start) -> None:
    assert start("mail").stop() == 0


def test_a_hanging_request_does_not_keep_it_alive(start: Start) -> None:
    mail = start("mail")
    mail.http.post("/_sim/faults", json={"kind": "timeout_before"})
    with pytest.raises(httpx.ReadTimeout):
        mail.http.get("/", timeout=0.2)
    assert mail.stop() == 0


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """A promise on Linux, where the kernel tells a child."""
    port = free_port()
    command = [sys.executable, "-m", "devstack.simulators.mail", "--port", str(port), "--data", str(tmp_path)]
    source = f"import subprocess; subprocess.Popen({command!r}).wait()"
    parent = subprocess.Popen([sys.executable, "-c", source], cwd=ROOT, env=process_environment())
    eventually(lambda: _answers(port), within=READY_WITHIN)
    parent.kill()
    parent.wait()
    eventually(lambda: not _answers(port))


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=1).is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("name", ["mail", "nextpanel", "stripe"])
def test_each_says_how_it_is_started(name: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", f"devstack.simulators.{name}", "--help"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    assert "--port" in shown.stdout
    assert "--data" in shown.stdout
