"""The package as its README installs it: without a network, whole, typed, and in need of nothing of the service's."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Final

import httpx
import pytest

from core.settings import process_environment
from tests.support.servers import ROOT

SOURCE: Final = ROOT / "clients" / "python"
BLOCKS: Final = re.findall(
    r"^```(\w+)\n(.*?)^```$", (SOURCE / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
)
INSTALL: Final = next(text for language, text in BLOCKS if language == "sh")
PROGRAMS: Final = [text for language, text in BLOCKS if language == "python" and text.startswith('"""')]
WRONG: Final = """
from nextpanel_billing_client import BillingClient, Verdict


async def wrong(billing: BillingClient, verdict: Verdict) -> None:
    await billing.report("NP-AAAA-BBBB-CCCC", "unicorns", "created", 1)
    reveal_type(verdict.as_of)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a fresh environment, into which the README's first block has installed the package."""
    fresh = tmp_path_factory.mktemp("fresh")
    python = fresh / "bin" / "python"
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", str(fresh)), check=True, timeout=60)
    (_site(python) / "dependencies.pth").write_text(f"{Path(httpx.__file__).parents[1]}\n")  # what an index would bring
    pip = fresh / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec {sys.executable} -m pip --no-input --python {python} "$@"\n')
    pip.chmod(0o755)
    path = f"{pip.parent}{os.pathsep}{process_environment()['PATH']}"
    # The environment of the tests is not to be installed anew with the Python that comes first in this PATH.
    env = process_environment() | {"PATH": path, "PIP_NO_INDEX": "1", "MAKEFLAGS": f"PYTHON={sys.executable}"}
    ran = subprocess.run(
        ("bash", "-euc", INSTALL), cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=100
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return python


def _site(python: Path) -> Path:
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    return site


def test_it_holds_every_module_its_types_and_its_license(python: Path) -> None:
    site = _site(python)
    modules = {file.name for file in (SOURCE / "src" / "nextpanel_billing_client").glob("*.py")}
    assert len(modules) >= 10
    installed = {file.name for file in (site / "nextpanel_billing_client").iterdir()} - {"__pycache__"}
    assert installed == modules | {"py.typed"}
    (about,) = (PathDistribution(folder) for folder in site.glob("nextpanel_billing_client-*.dist-info"))
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text("utf-8"))["project"]
    assert about.version == project["version"]
    assert about.metadata["Description-Content-Type"] == "text/markdown"
    terms = about.read_text("licenses/LICENSE")
    assert terms == (SOURCE / "LICENSE").read_text("utf-8")
    assert terms.splitlines()[0] == (ROOT / "LICENSE").read_text("utf-8").splitlines()[0]


def test_it_works_and_imports_nothing_of_the_service(python: Path, tmp_path: Path) -> None:
    """A report is written down, a question is no verdict, and the program ends."""
    code = """
import asyncio, sys
from pathlib import Path
from nextpanel_billing_client import BillingClient, Unreachable
from nextpanel_billing_client.transport import _USER_AGENT

async def main():
    nowhere = "http://127.0.0.1:1"
    async with BillingClient(validator_url=nowhere, billing_url=nowhere, key_id="k", secret="s",
                             store=Path(sys.argv[1]) / "made" / "billing.db") as client:
        await client.report("NP-AAAA-BBBB-CCCC", "databases", "created", 1)
        try:
            await client.validate("NP-AAAA-BBBB-CCCC", "backups")
        except Unreachable:
            print(await client.waiting_reports(), _USER_AGENT)

asyncio.run(main())
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
    told, loaded = _run(python, "-I", "-W", "error", "-c", code, str(tmp_path)).splitlines()
    version = tomllib.loads((SOURCE / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert told == f"1 nextpanel-billing-client/{version}"
    assert {"nextpanel_billing_client", "httpx", "cryptography", "sqlite3"} <= set(loaded.split())
    assert not set(loaded.split()) & {
        "core",
        "db",
        "billing_api",
        "validator",
        "workers",
        "msgspec",
        "redis",
        "pydantic",
    }


def _run(python: Path, *argv: str) -> str:
    ran = subprocess.run((str(python), *argv), cwd="/", capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_programs_of_its_users_are_checked_against_its_types(python: Path, tmp_path: Path) -> None:
    """The README's under `mypy --strict`, and one with faults, to see that faults are found."""
    names = [f"program_{number}.py" for number in range(len(PROGRAMS))]
    assert len(names) == 2
    for name, text in zip([*names, "wrong.py"], [*PROGRAMS, WRONG], strict=True):
        (tmp_path / name).write_text(text, encoding="utf-8")
    cache = ROOT / ".mypy_cache" / "of the client's users"
    options = ("--strict", "--no-error-summary", "--cache-dir", str(cache), "--python-executable", str(python))
    mypy = (sys.executable, "-m", "mypy", *options, *names, "wrong.py")
    ran = subprocess.run(mypy, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=110)
    unicorns, revealed = ran.stdout.splitlines()
    assert unicorns.startswith('wrong.py:6: error: Argument 2 to "report" of "BillingClient" has incompatible type')
    assert revealed == 'wrong.py:7: note: Revealed type is "datetime.datetime | None"'
