from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest

from core.clock import unix_time
from tests.devstack.simulators.conftest import Start
from tests.devstack.simulators.running import Simulator

SECRET = "a secret that only billing and the panel know"


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with closing(Simulator("nextpanel", tmp_path_factory.mktemp("panel"), "--jwt-secret", SECRET).start()) as simulator:
        yield simulator


def token(secret: str = SECRET, **changes: Any) -> str:
    claims = {"iss": "nextpanel-billing", "aud": "nextpanel", "exp": int(unix_time()) + 60}
    return jwt.encode({name: value for name, value in (claims | changes).items() if value is not None}, secret)


def an_order(**changes: Any) -> dict[str, Any]:
    order = {
        "license_id": str(uuid4()),
        "user_email": "a@example.com",
        "plan": "professional",
        "features": {"ssl": True},
    }
    return order | changes


def call(
    panel: Simulator, verb: str, body: dict[str, Any], key: str | None = None, bearer: str | None = None
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {bearer or token()}", "Idempotency-Key": key or str(uuid4())}
    return panel.http.post(f"/api/v1/nextpanel/{verb}", json=body, headers=headers)


def account(panel: Simulator, license_id: str) -> dict[str, Any]:
    found = [one for one in panel.http.get("/_sim/accounts").json()["items"] if one["license_id"] == license_id]
    assert len(found) == 1
    one: dict[str, Any] = found[0]
    return one


def test_an_account_is_made(panel: Simulator) -> None:
    order = an_order(limits={"databases": 50, "domains": None})
    answer = call(panel, "provision", order)
    assert answer.status_code == 201
    body = answer.json()
    assert UUID(body["nextpanel_account_id"])
    assert panel.http.get(body["login_url"]).status_code == 200
    made = account(panel, order["license_id"])
    assert (made["status"], made["plan"], made["user_email"], made["effects"]) == (
        "active",
        "professional",
        "a@example.com",
        1,
    )


def test_the_same_key_gives_the_stored_answer(panel: Simulator) -> None:
    order = an_order()
    first, again = call(panel, "provision", order, "key-1"), call(panel, "provision", order, "key-1")
    assert (again.status_code, again.json()) == (201, first.json())
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    made = account(panel, order["license_id"])
    assert (made["effects"], made["calls"]) == (1, 2)


def test_the_same_key_for_another_body_is_refused(panel: Simulator) -> None:
    call(panel, "provision", an_order(), "key-2")
    assert call(panel, "provision", an_order(), "key-2").status_code == 422


def test_another_key_for_a_known_license_names_its_account(panel: Simulator) -> None:
    order = an_order()
    made = call(panel, "provision", order).json()
    again = call(panel, "provision", order)
    assert again.status_code == 409
    assert again.json()["nextpanel_account_id"] == made["nextpanel_account_id"]
    assert account(panel, order["license_id"])["effects"] == 1


def test_an_account_follows_its_license(panel: Simulator) -> None:
    order = an_order()
    made = call(panel, "provision", order).json()["nextpanel_account_id"]
    license_id = {"license_id": order["license_id"]}
    for verb, status in (("suspend", "suspended"), ("suspend", "suspended"), ("resume", "active")):
        answer = call(panel, verb, license_id)
        assert answer.json() == {"nextpanel_account_id": made, "status": status}
    answer = call(panel, "change-plan", license_id | {"plan": "enterprise", "limits": {"databases": None}})
    assert answer.status_code == 200
    assert account(panel, order["license_id"])["plan"] == "enterprise"
    assert call(panel, "terminate", license_id).json()["status"] == "terminated"
    assert call(panel, "resume", license_id).status_code == 409


def test_an_unknown_license_is_not_found(panel: Simulator) -> None:
    assert call(panel, "suspend", {"license_id": str(uuid4())}).status_code == 404


@pytest.mark.parametrize(
    "bad",
    [
        token("another secret, quite long enough for the algorithm"),
        token(exp=1),
        token(exp=None),
        token(aud="somebody else"),
        token(iss="somebody else"),
        jwt.encode({"iss": "nextpanel-billing", "aud": "nextpanel"}, "", algorithm="none"),
        "garbage",
    ],
)
def test_a_token_that_does_not_hold_is_refused(panel: Simulator, bad: str) -> None:
    order = an_order()
    answer = call(panel, "provision", order, bearer=bad)
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["status"] == 401


def test_a_call_without_token_or_key_is_refused(panel: Simulator) -> None:
    path = "/api/v1/nextpanel/provision"
    assert panel.http.post(path, json=an_order(), headers={"Idempotency-Key": "x"}).status_code == 401
    assert panel.http.post(path, json=an_order(), headers={"Authorization": f"Bearer {token()}"}).status_code == 400


@pytest.mark.parametrize("wrong", [{"color": "red"}, {"user_email": None}, {"features": "all"}])
def test_a_body_it_does_not_know_is_refused(panel: Simulator, wrong: dict[str, Any]) -> None:
    assert call(panel, "provision", an_order(**wrong)).status_code == 400


def test_accounts_and_answers_survive_a_kill(start: Start) -> None:
    panel = start("nextpanel", "--jwt-secret", SECRET)
    order = an_order()
    made = call(panel, "provision", order, "key").json()
    panel.kill()
    panel.start()
    again = call(panel, "provision", order, "key")
    assert (again.json(), again.headers["idempotent-replayed"]) == (made, "true")


def test_a_timeout_after_the_effect_is_safe_to_repeat(panel: Simulator) -> None:
    order = an_order()
    panel.http.post("/_sim/faults", json={"kind": "drop_after_effect", "path": "*/provision"})
    with pytest.raises(httpx.RemoteProtocolError):
        call(panel, "provision", order, "key-lost")
    assert call(panel, "provision", order, "key-lost").headers["idempotent-replayed"] == "true"
    assert account(panel, order["license_id"])["effects"] == 1
