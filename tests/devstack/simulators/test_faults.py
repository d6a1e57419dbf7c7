"""The `/_sim` API that every simulator carries, tried on the mail sink."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.devstack.simulators.running import Simulator


@pytest.fixture
def mail(mail_simulator: Simulator) -> Iterator[Simulator]:
    for path in ("/_sim/faults", "/_sim/requests", "/_sim/messages"):
        mail_simulator.http.delete(path)
    yield mail_simulator
    mail_simulator.http.delete("/_sim/faults")


def send(mail: Simulator, key: str = "k", timeout: float = 10) -> httpx.Response:
    message = {"to": "a@example.com", "subject": "s", "text": "t", "key": key}
    return mail.http.post("/messages", json=message, timeout=timeout)


def arrived(mail: Simulator) -> list[str]:
    return [message["key"] for message in mail.http.get("/_sim/messages").json()["items"]]


def fault(mail: Simulator, **members: Any) -> None:
    assert mail.http.post("/_sim/faults", json=members).status_code == 200


def test_a_status_is_answered_so_many_times_and_nothing_is_done(mail: Simulator) -> None:
    fault(mail, kind="status", status=429, body={"slow": "down"}, headers={"Retry-After": "3"}, times=2)
    refused = [send(mail), send(mail)]
    assert [(answer.status_code, answer.json()) for answer in refused] == [(429, {"slow": "down"})] * 2
    assert refused[0].headers["retry-after"] == "3"
    assert arrived(mail) == []
    assert send(mail).status_code == 202


def test_only_what_matches_is_hit(mail: Simulator) -> None:
    fault(mail, kind="status", status=503, method="POST", path="/messages*")
    assert mail.http.get("/").status_code == 200
    assert send(mail).status_code == 503


def test_a_timeout_before_does_nothing(mail: Simulator) -> None:
    fault(mail, kind="timeout_before")
    with pytest.raises(httpx.ReadTimeout):
        send(mail, timeout=0.3)
    assert arrived(mail) == []


def test_a_timeout_after_has_done_it(mail: Simulator) -> None:
    fault(mail, kind="timeout_after_effect")
    with pytest.raises(httpx.ReadTimeout):
        send(mail, timeout=0.3)
    assert arrived(mail) == ["k"]


def test_a_hanging_request_ends_by_itself(mail: Simulator) -> None:
    fault(mail, kind="timeout_before", hang_seconds=0.2)
    with pytest.raises(httpx.RemoteProtocolError):
        send(mail)


@pytest.mark.parametrize(("kind", "done"), [("drop", []), ("drop_after_effect", ["k"])])
def test_a_dropped_connection(mail: Simulator, kind: str, done: list[str]) -> None:
    fault(mail, kind=kind)
    with pytest.raises(httpx.RemoteProtocolError):
        send(mail)
    assert arrived(mail) == done


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_delay_is_late_and_right(mail: Simulator, method: str) -> None:
    fault(mail, kind="delay", delay_ms=250)
    began = time.monotonic()
    answer = send(mail) if method == "POST" else mail.http.get("/")
    assert answer.is_success
    assert time.monotonic() - began >= 0.25


def test_faults_can_be_seen_and_taken_back(mail: Simulator) -> None:
    mail.http.post("/_sim/faults", json=[{"kind": "drop"}, {"kind": "status", "times": 3}])
    assert [(one["kind"], one["times"]) for one in mail.http.get("/_sim/faults").json()["items"]] == [
        ("drop", 1),
        ("status", 3),
    ]
    mail.http.delete("/_sim/faults")
    assert send(mail).status_code == 202


def test_a_fault_that_is_none_is_refused(mail: Simulator) -> None:
    assert mail.http.post("/_sim/faults", json={"kind": "earthquake"}).status_code == 400


def test_received_requests_are_shown_without_their_secrets(mail: Simulator) -> None:
    mail.http.post("/messages?x=1", content=b"{}", headers={"Authorization": "Bearer hush", "X-Seen": "yes"})
    (received,) = mail.http.get("/_sim/requests").json()["items"]
    assert (received["method"], received["path"], received["query"], received["body"]) == (
        "POST",
        "/messages",
        "x=1",
        "{}",
    )
    assert received["headers"]["authorization"] == "(secret)"
    assert received["headers"]["x-seen"] == "yes"
    mail.http.post("/messages", content=b"card_number=4242+4242 4242-4242&exp=12/34")
    assert mail.http.get("/_sim/requests").json()["items"][1]["body"] == "card_number=(card number)&exp=12/34"
    mail.http.delete("/_sim/requests")
    assert mail.http.get("/_sim/requests").json()["items"] == []
