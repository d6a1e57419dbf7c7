"""Activation: key and token become an API key of the panel's own, once, whatever is lost, killed or said twice."""

import json
import logging
from pathlib import Path
from typing import Any, Final

import pytest
from nextpanel_billing_client import Activation, BillingClient, NotActivated, Refused, StoreUnusable, Unreachable
from nextpanel_billing_client.store import Store

from tests.clients.scripted import Asked, ScriptedServer, Step, refuses, says
from tests.clients.test_reports import RECORDED, all_delivered
from tests.clients.test_transport import YES

LICENSE: Final = "NP-AAAA-BBBB-CCCC"
TOKEN: Final = "npt_of_the_owner"
SECRET: Final = "the secret of an activation"
GIVEN: Final = {
    "license_id": "018f0000-0000-7000-8000-000000000001",
    "instance_id": "018f0000-0000-7000-8000-000000000002",
    "key_id": "npk_activated",
    "secret": SECRET,
    "permissions": ["lease", "reserve", "usage", "validate"],
    "fingerprint": "machine-1",
}
NO_LEASE: Final = says({"lease": None, "code": "NOT_FOUND"})


def routes(**more: Step) -> Step:
    """By the path's last word; what is not named is as usual."""
    usual = {"activate": says(GIVEN), "lease": NO_LEASE, "validate_license": says(YES), "usage": RECORDED}
    return Step(made_of=lambda asked: (usual | more)[_last_word(asked)])


def _last_word(asked: Asked) -> str:
    return asked.target.rpartition("/")[2].replace("-", "_")


def asked_for(server: ScriptedServer, word: str) -> list[Asked]:
    return [asked for asked in server.asked if _last_word(asked) == word]


def a_panel(server: ScriptedServer, store: Path, **more: Any) -> BillingClient:
    return BillingClient(validator_url=server.url, billing_url=server.url, store=store, **more)


async def activate(client: BillingClient, **more: Any) -> Activation:
    return await client.activate(
        **{"license_key": LICENSE, "activation_token": TOKEN, "fingerprint": "machine-1"} | more
    )


def signers(asked: list[Asked]) -> list[str]:
    return [one.headers["np-signature"].partition(",")[0] for one in asked]


async def test_a_panel_signs_with_what_its_activation_brought(server: ScriptedServer, store: Path) -> None:
    server.script = [routes()]
    async with a_panel(server, store) as client:
        activation = await activate(client)
        assert activation == await client.activation()
        assert (activation.key_id, activation.permissions) == ("npk_activated", tuple(GIVEN["permissions"]))
        await client.validate(LICENSE, "backups")
    async with a_panel(server, store) as after_a_restart:
        await after_a_restart.validate(LICENSE, "backups")
    (asked,) = asked_for(server, "activate")
    assert asked.content == {"license_key": LICENSE, "activation_token": TOKEN, "fingerprint": "machine-1"}
    assert "np-signature" not in asked.headers
    assert signers(asked_for(server, "validate_license")) == ["k=npk_activated"] * 2


async def test_the_same_words_activate_once(server: ScriptedServer, store: Path) -> None:
    server.script = [routes()]
    async with a_panel(server, store) as client:
        first = await activate(client)
        assert await activate(client, license_key=f" {LICENSE.lower()} ", activation_token=f"{TOKEN}\n") == first
    async with a_panel(server, store) as after_a_restart:
        assert await activate(after_a_restart) == first
    assert len(asked_for(server, "activate")) == 1


async def test_a_lost_answer_is_asked_for_with_the_same_words(server: ScriptedServer, store: Path) -> None:
    server.script = [Step(cut=True), routes()]
    async with a_panel(server, store) as client:
        await activate(client)
    lost, repeated = asked_for(server, "activate")
    assert lost.body == repeated.body
    assert lost.headers["idempotency-key"] == repeated.headers["idempotency-key"]


async def test_an_answer_that_could_not_be_stored_is_asked_for_again(server: ScriptedServer, store: Path) -> None:
    server.script = [routes()]
    async with a_panel(server, store) as client:
        client._store._run("ALTER TABLE facts RENAME TO hidden")
        with pytest.raises(StoreUnusable):
            await activate(client)
        client._store._run("ALTER TABLE hidden RENAME TO facts")
        assert (await activate(client)).key_id == "npk_activated"
    keys = {asked.headers["idempotency-key"] for asked in asked_for(server, "activate")}
    assert len(keys) == 1


async def test_another_token_activates_anew_and_other_processes_hear_of_it(server: ScriptedServer, store: Path) -> None:
    def judged(asked: Asked) -> Step:
        return says(YES) if "k=npk_anew," in asked.headers["np-signature"] else refuses(401, "invalid_signature")

    server.script = [routes()]
    async with a_panel(server, store) as client, a_panel(server, store) as other_process:
        await activate(client)
        await other_process.validate(LICENSE, "backups")
        server.script = [routes(activate=says(GIVEN | {"key_id": "npk_anew"}), validate_license=Step(made_of=judged))]
        await activate(client, activation_token="npt_another")
        assert (await client.validate(LICENSE, "backups")).valid
        assert (await other_process.validate(LICENSE, "backups")).valid
        server.script = [routes(validate_license=refuses(401, "invalid_signature"))]
        before = len(server.asked)
        with pytest.raises(Refused, match="invalid_signature"):
            await other_process.validate(LICENSE, "backups")
        assert len(server.asked) == before + 1
        client._store._run("ALTER TABLE facts RENAME TO hidden")
        with pytest.raises(Refused, match="invalid_signature"):  # the store's fault is told in the log
            await other_process.validate(LICENSE, "backups")
    assert len({asked.headers["idempotency-key"] for asked in asked_for(server, "activate")}) == 2


async def test_before_an_activation_nothing_is_asked_and_reports_wait(
    server: ScriptedServer, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.script = [routes()]
    async with a_panel(server, store) as client:
        assert await client.activation() is None
        with pytest.raises(NotActivated, match=r"call activate\(\), or give key_id and secret"):
            await client.validate(LICENSE, "backups")
        with pytest.raises(NotActivated):
            async with client.reserve(LICENSE, "databases"):
                pytest.fail("nothing is held")
        await client.report(LICENSE, "databases", "created", 1)
        with pytest.raises(NotActivated):
            await client.deliver_reports()
        assert server.asked == []
        await activate(client)
        await all_delivered(client)
    assert signers(asked_for(server, "usage")) == ["k=npk_activated"]


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "activation_refused"), (409, "fingerprint_mismatch"), (422, "fingerprint_required"), (400, "invalid_input")],
)
async def test_a_refusal_is_told_and_stores_nothing(
    server: ScriptedServer, store: Path, status: int, code: str
) -> None:
    server.script = [routes(activate=refuses(status, code))]
    async with a_panel(server, store) as client:
        with pytest.raises(Refused, match=code):
            await activate(client)
        assert await client.activation() is None
        server.script = [routes()]  # the cause is corrected, and the token is still good
        assert (await activate(client)).key_id == "npk_activated"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        GIVEN | {"secret": None},
        GIVEN | {"key_id": 1},
        GIVEN | {"permissions": [1]},
        GIVEN | {"fingerprint": {}},
    ],
)
async def test_an_answer_of_another_shape_is_nobody_s(server: ScriptedServer, store: Path, answer: object) -> None:
    server.script = [routes(activate=says(answer))]
    async with a_panel(server, store) as client:
        with pytest.raises(Unreachable):
            await activate(client)
        assert await client.activation() is None


@pytest.mark.parametrize("damaged", ["{", "[]", "{}", json.dumps({"key_id": "k"}), "null"])
async def test_a_damaged_activation_is_none(
    server: ScriptedServer, store: Path, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt = Store(store)
    spoilt.keep_fact("activation", damaged)
    spoilt.close()
    server.script = [routes()]
    async with a_panel(server, store) as client:
        assert await client.activation() is None
        assert "the activation in the store is damaged: activate again, with a new token" in caplog.text
        assert (await activate(client)).key_id == "npk_activated"


@pytest.mark.parametrize("given", [{"key_id": "k"}, {"secret": "s"}])
def test_half_a_key_is_none(store: Path, given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="belong together"):
        BillingClient(validator_url="http://v", billing_url="http://b", store=store, **given)


async def test_a_client_with_a_key_of_the_program_is_not_activated(server: ScriptedServer, store: Path) -> None:
    async with a_panel(server, store, key_id="k1", secret="s") as client:
        with pytest.raises(ValueError, match="leave them out to activate"):
            await activate(client)
    assert server.asked == []


async def test_the_secret_lies_in_the_store_and_nowhere_else(
    server: ScriptedServer, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.script = [routes()]
    async with a_panel(server, store) as client:
        told = [repr(await activate(client)), repr(client), repr(client._keys._key)]
    told += [record.getMessage() for record in caplog.records]
    for secret in (SECRET, TOKEN, LICENSE, "machine-1"):
        assert not any(secret in text for text in told)
    assert {file.stat().st_mode & 0o777 for file in store.parent.glob(f"{store.name}*")} == {0o600}
