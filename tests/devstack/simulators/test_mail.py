from html.parser import HTMLParser

import pytest
from typing_extensions import override

from devstack.simulators import mailbox_page
from devstack.simulators.mail import Delivered
from tests.devstack.simulators.conftest import Start
from tests.devstack.simulators.running import Simulator

MESSAGE = {"to": "a@example.com", "subject": "Confirm", "text": "go to https://x.example/?token=abc", "key": "k1"}


@pytest.fixture
def mail(mail_simulator: Simulator) -> Simulator:
    mail_simulator.http.delete("/_sim/messages")
    return mail_simulator


def test_a_message_is_taken_and_shown(mail: Simulator) -> None:
    assert mail.http.post("/messages", json={**MESSAGE, "html": "<p>hi</p>"}).status_code == 202
    (shown,) = mail.http.get("/_sim/messages").json()["items"]
    assert shown.pop("at").endswith("Z")
    assert shown == {**MESSAGE, "html": "<p>hi</p>", "attempts": 1}


def test_one_key_is_one_message_and_its_attempts_are_counted(mail: Simulator) -> None:
    for subject in ("first", "second"):
        mail.http.post("/messages", json={**MESSAGE, "subject": subject})
    (shown,) = mail.http.get("/_sim/messages").json()["items"]
    assert (shown["subject"], shown["attempts"]) == ("first", 2)


def test_messages_of_one_person(mail: Simulator) -> None:
    for key, to in (("1", "a@example.com"), ("2", "b@example.com"), ("3", "A@Example.com")):
        mail.http.post("/messages", json={**MESSAGE, "to": to, "key": key})
    found = mail.http.get("/_sim/messages", params={"to": "a@example.com"}).json()["items"]
    assert [message["key"] for message in found] == ["1", "3"]


@pytest.mark.parametrize("wrong", [{"cc": "x"}, {"to": 3}, {"key": None}])
def test_what_it_does_not_know_it_refuses(mail: Simulator, wrong: dict[str, object]) -> None:
    answer = mail.http.post("/messages", json=MESSAGE | wrong)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_mail_survives_a_kill(start: Start) -> None:
    mail = start("mail")
    mail.http.post("/messages", json=MESSAGE)
    mail.kill()
    mail.start()
    assert [message["key"] for message in mail.http.get("/_sim/messages").json()["items"]] == ["k1"]


def test_the_page_is_served(mail: Simulator) -> None:
    mail.http.post("/messages", json=MESSAGE)
    page = mail.http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert 'href="https://x.example/?token=abc"' in page.text


class Attributes(HTMLParser):
    def __init__(self, tag: str) -> None:
        super().__init__()
        self.tag, self.found = tag, list[dict[str, str | None]]()

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == self.tag:
            self.found.append(dict(attrs))


def test_html_is_shown_in_a_frame_that_can_run_nothing() -> None:
    evil = Delivered("a", "<script>s</script>", "", "<script>alert(1)</script>\"'", "now", "k")
    page = mailbox_page.render([evil])
    frames, scripts = Attributes("iframe"), Attributes("script")
    frames.feed(page)
    scripts.feed(page)
    assert scripts.found == []
    assert frames.found[0]["sandbox"] == "allow-popups allow-popups-to-escape-sandbox"
    assert frames.found[0]["srcdoc"] == '<base target="_blank"><script>alert(1)</script>"\''


def test_only_addresses_become_links() -> None:
    shown = mailbox_page.with_links("a <b> https://x.example/?a=1&b=2 c")
    assert str(shown) == (
        'a &lt;b&gt; <a href="https://x.example/?a=1&amp;b=2" target="_blank" rel="noreferrer">'
        "https://x.example/?a=1&amp;b=2</a> c"
    )
