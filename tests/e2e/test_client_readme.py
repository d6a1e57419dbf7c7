"""Every block of the Python client's README, copied out and run in its order: a panel author's first day.

The first block, which installs the package, is run by `tests/clients/test_package.py`.
"""

import ast
import asyncio
import importlib.util
import json
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import httpx
import pytest
from nextpanel_billing_client import BillingClient, Verdict

from core.settings import process_environment
from devstack.ports import choose
from devstack.visitor import Visitor, eventually
from tests.support.servers import ROOT

README: Final = ROOT / "clients" / "python" / "README.md"
BLOCKS: Final = re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
_, TOKEN, ACTIVATE, PANEL, *SNIPPETS, MOVE = (text for _, text in BLOCKS)


class FirstDay:
    """A license's owner, and the environment of a panel for it."""

    def __init__(self, visitor: Visitor, folder: Path) -> None:
        self.visitor = visitor
        order = {"email": visitor.facts["customer"]["email"], "plan": "starter"}
        issued = visitor.call("POST", "/admin/licenses", visitor.admin(), order)
        self.me = visitor.sign_in(**visitor.facts["customer"])
        self.license_key: str = issued["license_key"]
        self.store = folder / "made by the client" / "billing.db"
        self.env = {
            "BILLING_URL": visitor.facts["billing_api"],
            "VALIDATOR_URL": visitor.facts["validator"],
            "STORE": str(self.store),
            "NEW_FOLDER": str(folder / "moved"),
            "LICENSE_ID": issued["id"],
            "LICENSE_KEY": self.license_key,
            "ACCESS_TOKEN": self.me["Authorization"].removeprefix("Bearer "),
        }

    def client(self, **more: Any) -> BillingClient:
        urls = {"billing_url": self.env["BILLING_URL"], "validator_url": self.env["VALIDATOR_URL"]}
        return BillingClient(**{**urls, "store": self.store, **more})

    def used(self, resource: str) -> int:
        """By the billing API."""
        counts = self.visitor.call("GET", f"/licenses/{self.env['LICENSE_ID']}/usage", self.me)["resources"]
        return int(counts[resource]["used"])

    async def counted(self, **expected: int) -> None:
        """Waits until the billing API has counted these."""
        for resource, number in expected.items():
            look = lambda: self.used(resource) == number  # noqa: B023, E731  it is done before the next turn
            await asyncio.to_thread(eventually, f"{number} {resource}", look)


def shell(block: str, env: Mapping[str, str], folder: Path = ROOT) -> str:
    ran = subprocess.run(
        ("bash", "-euo", "pipefail", "-c", block),
        cwd=folder,
        env={**process_environment(), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def program(block: str, folder: Path, name: str) -> ModuleType:
    """Imported from a file of its own."""
    file = folder / f"{name}.py"
    file.write_text(block, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def snippet(block: str, names: dict[str, Any]) -> None:
    """A block with `await` on its top level."""
    run = eval(compile(block, str(README), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True), names)
    if run is not None:
        await run


@asynccontextmanager
async def serving(panel: ModuleType) -> AsyncIterator[httpx.AsyncClient]:
    """The real application, started and stopped as a server does it."""
    transport = httpx.ASGITransport(app=panel.app)
    async with (
        panel.app.router.lifespan_context(panel.app),
        httpx.AsyncClient(transport=transport, base_url="http://panel") as browser,
    ):
        yield browser


@pytest.fixture
def day(visitor: Visitor, tmp_path: Path) -> FirstDay:
    return FirstDay(visitor, tmp_path)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, day: FirstDay) -> pytest.MonkeyPatch:
    """The environment in which the README's programs run."""
    for name, value in day.env.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


async def test_a_panel_author_s_first_day(day: FirstDay, given: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert {language for language, _ in BLOCKS} == {"sh", "python"}
    await it_is_activated(day, given, tmp_path)
    await it_creates_as_many_as_the_license_allows(day, tmp_path)
    await in_an_outage_the_lease_answers_and_reports_wait(day, given, tmp_path)
    await afterwards_they_are_delivered(day, given, tmp_path)
    await what_else_the_readme_shows(day)
    await the_store_is_moved(day)


async def it_is_activated(day: FirstDay, given: pytest.MonkeyPatch, folder: Path) -> None:
    made = json.loads(await asyncio.to_thread(shell, TOKEN, day.env))
    given.setenv("ACTIVATION_TOKEN", made["activation_token"])
    for _ in range(2):
        await asyncio.to_thread(program, ACTIVATE, folder, "activate")
    keys = day.visitor.call("GET", f"/licenses/{day.env['LICENSE_ID']}/api-keys", day.me)["items"]
    assert len(keys) == 1
    assert day.store.parent.stat().st_mode & 0o777 == 0o700


async def it_creates_as_many_as_the_license_allows(day: FirstDay, folder: Path) -> None:
    async with serving(program(PANEL, folder, "panel")) as browser:
        for number in range(5):
            assert (await browser.post(f"/databases/shop-{number}")).status_code == 201
        refused = await browser.post("/databases/one-too-many")
        assert (refused.status_code, refused.json()["code"]) == (403, "QUOTA_EXCEEDED")
        assert (await browser.post("/emails/info")).status_code == 201
        assert (await browser.delete("/databases/shop-0")).status_code == 204
        assert (await browser.delete("/storage_gb/1")).status_code == 422
        assert await backups(browser) == (True, False)
        await day.counted(databases=4, emails=1)


async def in_an_outage_the_lease_answers_and_reports_wait(
    day: FirstDay, given: pytest.MonkeyPatch, folder: Path
) -> None:
    nowhere = f"http://127.0.0.1:{choose('127.0.0.1')}"
    given.setenv("VALIDATOR_URL", nowhere)
    given.setenv("BILLING_URL", nowhere)
    panel = program(PANEL, folder, "cut_off")
    panel.created["databases"].add("shop-1")
    async with serving(panel) as browser:
        assert await backups(browser) == (True, True)
        refused = await browser.post("/databases/another")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        assert (await browser.delete("/databases/shop-1")).status_code == 204
        assert await panel.billing.waiting_reports() == 1


async def afterwards_they_are_delivered(day: FirstDay, given: pytest.MonkeyPatch, folder: Path) -> None:
    given.setenv("VALIDATOR_URL", day.env["VALIDATOR_URL"])
    given.setenv("BILLING_URL", day.env["BILLING_URL"])
    async with serving(program(PANEL, folder, "back")) as browser:
        await day.counted(databases=3)
        assert await backups(browser) == (True, False)


async def backups(browser: httpx.AsyncClient) -> tuple[bool, bool]:
    """Allowed, and whether the lease says so."""
    verdict = (await browser.get("/backups")).json()
    return verdict["valid"], verdict["offline"]


async def what_else_the_readme_shows(day: FirstDay) -> None:
    """Each block with the names that the text around it speaks of."""
    async with day.client() as billing:
        await billing.report("NP-0000-0000-0000", "emails", "created", 1)
        assert await billing.deliver_reports() == 0  # one that is refused, for a block to deal with
        async with asyncio.timeout(10):  # the client itself may have sent it, and have no answer yet
            while not await billing.refused_reports():  # noqa: ASYNC110  a row of its store
                await asyncio.sleep(0.02)
        names = {"billing": billing, "license_key": day.license_key, "store": day.store}
        names |= {"billing_url": day.env["BILLING_URL"], "validator_url": day.env["VALIDATOR_URL"]}
        for block in SNIPPETS:
            await snippet(block, names)
        assert isinstance(names["verdict"], Verdict)
        assert await billing.refused_reports() == []
        await day.counted(storage_gb=7, databases=4)


async def the_store_is_moved(day: FirstDay) -> None:
    async with day.client() as here:
        activation = await here.activation()
    await asyncio.to_thread(shell, MOVE, day.env)
    assert not day.store.exists()
    moved = Path(day.env["NEW_FOLDER"]) / day.store.name
    async with day.client(store=moved) as elsewhere:
        assert activation is not None
        assert await elsewhere.activation() == activation
        assert (await elsewhere.validate(day.license_key, "backups")).valid
