"""Mail relay client, against the relay's simulator."""

from collections.abc import Iterator

import httpx
import pytest

from billing_api.gateways.http_client import PartnerRefused
from billing_api.gateways.mail.relay import HttpMailRelay, OutgoingMail
from core.clock import utc_now
from core.ids import new_id
from devstack.ports import choose
from tests.support.processes import module


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("mail"), choose("127.0.0.1")
    url = f"http://127.0.0.1:{port}"
    flags = ("--port", str(port), "--data", str(folder))
    with module("devstack.simulators.mail", *flags, health=f"{url}/health/ready", log=folder / "log"):
        yield url


async def test_a_mail_sent_twice_arrives_once(simulator: str) -> None:
    relay = HttpMailRelay(simulator, utc_now)
    mail = OutgoingMail(
        to="ada@example.com", subject="Grüße", text="Hello — you", html="<p>Hello — you</p>", key=str(new_id())
    )
    await relay.send(mail)
    await relay.send(mail)
    await relay.close()
    async with httpx.AsyncClient() as client:
        items = (await client.get(f"{simulator}/_sim/messages", params={"to": "ada@example.com"})).json()["items"]
    assert [(item["subject"], item["text"], item["html"], item["attempts"]) for item in items] == [
        ("Grüße", "Hello — you", "<p>Hello — you</p>", 2)
    ]


async def test_a_refused_mail_is_refused(simulator: str) -> None:
    relay = HttpMailRelay(simulator, utc_now)
    async with httpx.AsyncClient() as client:
        fault = {"kind": "status", "status": 422, "body": {"detail": "no such mailbox"}}
        await client.post(f"{simulator}/_sim/faults", json=fault)
    with pytest.raises(PartnerRefused, match="no such mailbox"):
        await relay.send(OutgoingMail("x@example.com", "s", "t", "h", "k"))
    await relay.close()
