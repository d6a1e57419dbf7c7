"""Mail delivery: rendered, sent once, and without text that does not belong in a mail."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from billing_api.gateways.http_client import PartnerRefused, Retryable
from billing_api.gateways.mail.relay import HttpMailRelay
from billing_api.notifications.mails.rendering import MailRenderer, seal_token
from billing_api.notifications.mails.subjects import MAIL_KINDS
from core.clock import utc_now
from core.ids import new_id
from core.jobs import DeliverMail
from db.models.messaging import Mail
from db.unit_of_work import Database
from tests.support.databases import rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls
from tests.workers.world import Simulator
from workers.handlers.mail import MailDelivery

LINKS = {name: kind.link_path for name, kind in MAIL_KINDS.items() if kind.link_path is not None}
PUBLIC, PORTAL = "https://billing.example", "https://portal.example"


class Letters:
    """Writes mails into the outbox of a user, and delivers them."""

    def __init__(self, desk: Desk, database: Database, relay: HttpMailRelay) -> None:
        self.desk = desk
        self.database = database
        self.relay = relay

    async def write(self, template: str, **parameters: Any) -> Mail:
        user_id = await self.desk.a_user()
        mail = Mail(
            id=new_id(),
            key=new_id().hex,
            user_id=user_id,
            recipient=f"{user_id.hex}@example.com",
            template=template,
            parameters=parameters,
        )
        async with self.database.as_system() as tx:
            tx.session.add(mail)
        return mail

    def delivery(self, portal_url: str | None = PORTAL) -> MailDelivery:
        sealer = self.desk.settings.secrets.sealer
        return MailDelivery(self.database, self.relay, MailRenderer(sealer, public_url=PUBLIC, portal_url=portal_url))

    def sealed(self, token: str) -> str:
        return seal_token(self.desk.settings.secrets.sealer, token)


@pytest.fixture
async def letters(desk: Desk, database: Database, mailbox: Simulator) -> AsyncIterator[Letters]:
    relay = HttpMailRelay(mailbox.url, utc_now)
    yield Letters(desk, database, relay)
    await relay.close()


@pytest.mark.parametrize(("portal", "expected"), [(PORTAL, PORTAL), (PORTAL + "/", PORTAL), (None, PUBLIC)])
async def test_a_verification_link_leads_to_the_portal_or_the_api(
    letters: Letters, mailbox: Simulator, portal: str | None, expected: str
) -> None:
    token = "a-token_of+all/kinds="
    mail = await letters.write("verify_email", full_name="Ada", token_sealed=letters.sealed(token))
    await letters.delivery(portal).deliver(DeliverMail(mail.id))
    [message] = await mailbox.messages(mail.recipient)
    link = f"{expected}/verify-email?token=a-token_of%2Ball%2Fkinds%3D"
    assert link in message["text"].split()
    assert f'href="{link}"' in message["html"]
    assert message["subject"] == "Confirm your e-mail address"


@pytest.mark.parametrize("portal", [PORTAL, None])
@pytest.mark.parametrize(("template", "path"), LINKS.items())
async def test_each_link_leads_where_its_mail_says(
    letters: Letters, mailbox: Simulator, template: str, path: str, portal: str | None
) -> None:
    mail = await letters.write(template, new_email="new@example.com", token_sealed=letters.sealed("t0ken"))
    await letters.delivery(portal).deliver(DeliverMail(mail.id))
    [message] = await mailbox.messages(mail.recipient)
    link = f"{portal or PUBLIC}/{path}?token=t0ken"
    assert link in message["text"].split()
    assert f'href="{link}"' in message["html"]
    assert message["subject"] == MAIL_KINDS[template].subject


@pytest.mark.parametrize("template", ["password_changed", "email_change_asked", "account_deleted"])
async def test_a_notice_to_the_owner_carries_no_link_to_follow(
    letters: Letters, mailbox: Simulator, template: str
) -> None:
    mail = await letters.write(template, full_name="Ada", new_email="new@example.com")
    await letters.delivery().deliver(DeliverMail(mail.id))
    [message] = await mailbox.messages(mail.recipient)
    assert "http" not in message["text"]
    assert "href" not in message["html"]
    assert ("new@example.com" in message["text"]) == (template == "email_change_asked")


@pytest.mark.parametrize(
    ("template", "parameters", "said"),
    [
        ("second_factor_changed", {"change": "enabled"}, "was set up"),
        ("second_factor_changed", {"change": "removed"}, "your password alone"),
        ("second_factor_changed", {"change": "codes_renewed"}, "The old ones do not work any more"),
        ("recovery_code_used", {"left": "3"}, "3 of them are left"),
        ("recovery_code_used", {"left": "1"}, "One of them is left"),
        ("api_key_made", {"key_id": "npk_1", "license_id": "7", "how": "made"}, "A new API key was made"),
        ("api_key_made", {"key_id": "npk_1", "license_id": "7", "how": "rotated"}, "was given a new secret"),
        ("api_key_made", {"key_id": "npk_1", "license_id": "7", "how": "activated"}, "A panel was activated"),
        ("oauth_client_made", {"client_id": "7", "scopes": "usage:read", "how": "made"}, "a program that reads"),
        ("oauth_client_made", {"client_id": "7", "scopes": "usage:read", "how": "rotated"}, "was given a new secret"),
        ("password_changed", {"ended": "OAuth clients (2)"}, "This also ended: OAuth clients (2)"),
    ],
)
async def test_what_happened_to_a_second_factor_is_said_in_both_forms(
    letters: Letters, mailbox: Simulator, template: str, parameters: dict[str, str], said: str
) -> None:
    mail = await letters.write(template, full_name="Ada", **parameters)
    await letters.delivery().deliver(DeliverMail(mail.id))
    [message] = await mailbox.messages(mail.recipient)
    for form in ("text", "html"):
        assert said in " ".join(message[form].split())
        assert "http" not in message[form]


@pytest.mark.parametrize("template", ["email_change_asked", "email_changed"])
async def test_an_address_that_was_typed_is_text_and_no_markup(
    letters: Letters, mailbox: Simulator, template: str
) -> None:
    token = {"token_sealed": letters.sealed("t")} if template in LINKS else {}
    mail = await letters.write(template, new_email="<b>&@example.com", **token)
    await letters.delivery().deliver(DeliverMail(mail.id))
    [message] = await mailbox.messages(mail.recipient)
    assert "&lt;b&gt;&amp;@example.com" in message["html"]


async def test_a_mail_leaves_once_and_its_token_is_wiped(
    letters: Letters, mailbox: Simulator, database_urls: DatabaseUrls
) -> None:
    mail = await letters.write("verify_email", full_name="Ada", token_sealed=letters.sealed("t0ken"))
    for _ in range(2):
        await letters.delivery().deliver(DeliverMail(mail.id))
    [message] = await mailbox.messages(mail.recipient)
    assert (message["key"], message["attempts"]) == (str(mail.id), 1)
    [row] = await rows(database_urls, "SELECT sent_at, parameters FROM mails")
    assert row["sent_at"] is not None
    assert row["parameters"] == {"full_name": "Ada"}


async def test_an_answer_that_got_lost_sends_the_same_mail_again(letters: Letters, mailbox: Simulator) -> None:
    mail = await letters.write("account_exists")
    await mailbox.fault("drop_after_effect")
    with pytest.raises(Retryable):
        await letters.delivery().deliver(DeliverMail(mail.id))
    await letters.delivery().deliver(DeliverMail(mail.id))
    [message] = await mailbox.messages(mail.recipient)
    assert message["attempts"] == 2  # taken once, by its key


async def test_no_name_that_a_stranger_typed_is_sent_to_an_unproved_address(
    letters: Letters, mailbox: Simulator
) -> None:
    bait = "Win at https://evil.example"
    mail = await letters.write("verify_email", full_name=bait, token_sealed=letters.sealed("t"))
    await letters.delivery().deliver(DeliverMail(mail.id))
    [message] = await mailbox.messages(mail.recipient)
    assert "evil.example" not in message["text"] + message["html"]


async def test_a_license_mail_says_where_to_go_and_never_the_key(letters: Letters, mailbox: Simulator) -> None:
    license_id = str(new_id())
    mail = await letters.write(
        "license_ready", license_id=license_id, plan_name="Pro <b>& Co</b>", login_url="https://panel.example/login/1"
    )
    await letters.delivery().deliver(DeliverMail(mail.id))
    [message] = await mailbox.messages(mail.recipient)
    for body in (message["text"], message["html"]):
        assert "https://panel.example/login/1" in body
        assert f"{PORTAL}/licenses/{license_id}" in body
        assert "sign in to the billing portal" in " ".join(body.split())
        assert not re.search(r"NP-\w{4}", body)
    assert "Pro &lt;b&gt;&amp; Co&lt;/b&gt;" in message["html"]
    assert "Pro <b>& Co</b>" in message["text"]


@pytest.mark.parametrize("template", ["account_exists", "license_ready"])
async def test_without_a_portal_no_mail_links_to_one(letters: Letters, mailbox: Simulator, template: str) -> None:
    mail = await letters.write(template, license_id="1", plan_name="Starter", login_url="https://panel.example/1")
    await letters.delivery(None).deliver(DeliverMail(mail.id))
    [message] = await mailbox.messages(mail.recipient)
    links = set(re.findall(r"https?://\S+?(?=[\s\"<])", message["text"] + message["html"]))
    assert links <= {"https://panel.example/1", f"{PUBLIC}/licenses/1"}
    assert "portal" not in message["text"] + message["html"]
    assert "None" not in message["text"] + message["html"]


async def test_without_a_portal_the_license_mail_has_a_button_to_a_page(letters: Letters, mailbox: Simulator) -> None:
    """A customer reads it: no route of the API, which a browser cannot open."""
    mail = await letters.write(
        "license_ready", license_id="1", plan_name="Starter", login_url="https://panel.example/1"
    )
    await letters.delivery(None).deliver(DeliverMail(mail.id))
    [message] = await mailbox.messages(mail.recipient)
    assert f'<a href="{PUBLIC}/licenses/1"' in message["html"]
    assert message["text"].rstrip().endswith(f"\n{PUBLIC}/licenses/1")
    assert "/api/" not in message["text"] + message["html"]


@pytest.mark.parametrize(
    ("template", "parameters", "reason"),
    [
        ("weekly_gossip", {}, "no mail template"),
        ("license_ready", {}, "cannot be written"),
        ("verify_email", {"token_sealed": "bm90IHNlYWxlZA=="}, "cannot be opened"),
        ("verify_email", {"token_sealed": "not base64!"}, "cannot be opened"),
    ],
)
async def test_a_mail_that_can_never_be_written_is_refused(
    letters: Letters, mailbox: Simulator, template: str, parameters: dict[str, str], reason: str
) -> None:
    mail = await letters.write(template, **parameters)
    with pytest.raises(PartnerRefused, match=reason):
        await letters.delivery().deliver(DeliverMail(mail.id))
    assert await mailbox.messages(mail.recipient) == []


async def test_a_mail_that_is_gone_is_nothing_to_do(letters: Letters, mailbox: Simulator) -> None:
    await letters.delivery().deliver(DeliverMail(new_id()))
    assert await mailbox.requests() == []
