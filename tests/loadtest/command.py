"""Runs a tool of loadtest as a command, on a stack that is described by files in a folder."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from core.settings import process_environment
from tests.support.servers import ROOT

PLATFORM_KEY: Final = {"key_id": "npk_tests", "secret": "of the tests"}


def run(
    tool: str, *arguments: str, data: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python -m loadtest.<tool>` with NP_DATA, and nothing else of this process's own settings."""
    inherited = {name: value for name, value in process_environment().items() if not name.startswith("NP_")}
    return subprocess.run(
        (sys.executable, "-m", f"loadtest.{tool}", *arguments),
        cwd=ROOT,
        env=inherited | {"NP_DATA": str(data)} | dict(env or {}),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def describe_stack(data: Path, *, url: str, license_keys: Sequence[str]) -> None:
    """As if a stack whose every service is at `url` ran from `data`, and had been seeded."""
    login = {"email": "somebody@example.com", "password": "a password"}
    facts = {
        **dict.fromkeys(("billing_api", "validator"), url),
        **dict.fromkeys(("database_url", "worker_database_url", "owner_database_url", "redis_url"), ""),
        "admin": login,
        "customer": login,
        "platform_key": PLATFORM_KEY,
        "simulators": {"mail": url, "stripe": url},
        "pids": {"validator": []},
    }
    (data / "seed").mkdir(parents=True)
    (data / "run.json").write_text(json.dumps(facts))
    (data / "seed" / "license_keys.txt").write_text("".join(f"{key}\n" for key in license_keys))
    (data / "seed" / "customers.json").write_text(json.dumps([login]))
