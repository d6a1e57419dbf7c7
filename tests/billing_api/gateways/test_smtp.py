"""Mails over SMTP, against a real mail server in a thread: TLS, login, and the meaning of its answers."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from socket import SHUT_RDWR
from typing import Any, Literal, NamedTuple

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from typing_extensions import override

from billing_api.gateways.http_client import PartnerRefused, Retryable
from billing_api.gateways.mail import smtp
from billing_api.gateways.mail.relay import OutgoingMail
from billing_api.gateways.mail.smtp import SmtpMailRelay
from core.clock import utc_now
from core.smtp_settings import SmtpSettings
from devstack.ports import choose
from tests.support.callers import HOST
from tests.support.server_thread import serving, stop_accepting

MAIL = OutgoingMail("ada@example.com", "Grüße", "Hello — you\n.\nend", "<p>Hello — you</p>", "0190-mail")
PASSWORD = "p@ss:word"
Tls = Literal["starttls", "from_the_start", "off"]


class Authority(NamedTuple):
    serves: ssl.SSLContext
    believes: ssl.SSLContext


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A self-signed certificate for the loopback address."""
    folder, key = tmp_path_factory.mktemp("tls"), Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail of the tests")])
    now = datetime.now(UTC)  # noqa: TID251  TLS looks at the machine's own clock
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, None)
    )
    files = [Path(folder / name) for name in ("certificate", "key")]
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    serves = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serves.load_cert_chain(str(files[0]), str(files[1]))
    return Authority(serves, ssl.create_default_context(cafile=files[0]))


class Mailbox:
    """The mails that the server took; it answers `at_recipient` and `at_data` in place of 250."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.at_recipient = ""
        self.at_data = ""
        self.breaks_off = False

    async def handle_RCPT(  # noqa: N802  aiosmtpd calls it so
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.at_recipient:
            return self.at_recipient
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  as above
        if self.at_data:
            return self.at_data
        self.taken.append(message_from_bytes(envelope.content or b"", policy=default))  # type: ignore[arg-type]  # bytes
        if self.breaks_off:
            transport = server.transport
            assert isinstance(transport, asyncio.WriteTransport)
            transport.abort()
        return "250 OK"

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        self.logins.append((given.login, given.password))
        return AuthResult(success=given.password == PASSWORD.encode(), handled=False)


class MailServer(Controller):
    """Ends when the sockets of its connections are closed. aiosmtpd's own end leaves them to the garbage collector."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sockets: list[Any] = []

    @override
    def factory(self) -> SMTP:
        sockets = self.sockets

        class Connection(SMTP):
            @override
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                sockets.append(transport.get_extra_info("socket"))
                super().connection_made(transport)

        return Connection(self.handler, **self.SMTP_kwargs)

    async def close(self) -> None:
        assert self.server is not None
        await stop_accepting(self.server)
        for socket in self.sockets:
            with suppress(OSError):  # it is closed already
                socket.shutdown(SHUT_RDWR)
        while any(socket.fileno() != -1 for socket in self.sockets):  # noqa: ASYNC110  its transport tells nobody
            await asyncio.sleep(0)


@contextmanager
def a_server(mailbox: Mailbox, authority: Authority, tls: Tls, **more: Any) -> Iterator[int]:
    port = choose(HOST)
    context: dict[str, Any] = {"from_the_start": {"ssl_context": authority.serves}}
    context["starttls"] = {"tls_context": authority.serves, "auth_required": True}
    login = {"authenticator": mailbox.authenticate, "auth_require_tls": tls == "starttls"}
    controller = MailServer(mailbox, HOST, port, **(context.get(tls, {}) | login | more))
    controller.start()
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(controller.close(), controller.loop).result(10)
        controller.stop()


def a_relay(port: int, authority: Authority | None, tls: Tls, password: str = PASSWORD) -> SmtpMailRelay:
    settings = SmtpSettings(HOST, port, "billing", password, tls, "NextPanel Grüße <billing@seller.example>")
    return SmtpMailRelay(settings, utc_now, tls=authority.believes if authority else None)


@pytest.mark.parametrize("tls", ["starttls", "from_the_start"])
async def test_a_mail_arrives_whole_over_tls(authority: Authority, tls: Tls) -> None:
    mailbox = Mailbox()
    with a_server(mailbox, authority, tls) as port:
        await a_relay(port, authority, tls).send(MAIL)
    (taken,) = mailbox.taken
    assert mailbox.logins == [(b"billing", PASSWORD.encode())]
    assert (taken["To"], taken["Subject"], taken["Auto-Submitted"]) == ("ada@example.com", "Grüße", "auto-generated")
    assert taken["From"] == "NextPanel Grüße <billing@seller.example>"
    assert taken["Message-ID"] == "<0190-mail@seller.example>"
    assert abs(taken["Date"].datetime - utc_now()) < timedelta(minutes=1)
    text, html = (part.get_content().replace("\r\n", "\n") for part in taken.iter_parts())
    assert (text, html) == ("Hello — you\n.\nend\n", "<p>Hello — you</p>\n")


@pytest.mark.parametrize(
    ("answers", "raised"),
    [
        ({"at_recipient": "450 mailbox busy"}, Retryable),
        ({"at_recipient": "550 no such mailbox"}, PartnerRefused),
        ({"at_data": "451 try later"}, Retryable),
        ({"at_data": "554 looks like spam"}, PartnerRefused),
    ],
)
async def test_its_answer_decides(authority: Authority, answers: dict[str, str], raised: type[Exception]) -> None:
    mailbox = Mailbox()
    for name, answer in answers.items():
        setattr(mailbox, name, answer)
    said = next(iter(answers.values()))
    with a_server(mailbox, authority, "starttls") as port, pytest.raises(raised, match=f"{said[:3]}: .*{said[4:]}"):
        await a_relay(port, authority, "starttls").send(MAIL)
    assert not mailbox.taken


async def test_a_mail_whose_answer_is_lost_is_known_again_by_its_id(authority: Authority) -> None:
    mailbox = Mailbox()
    with a_server(mailbox, authority, "starttls") as port:
        mailbox.breaks_off = True
        with pytest.raises(Retryable):
            await a_relay(port, authority, "starttls").send(MAIL)
        mailbox.breaks_off = False
        await a_relay(port, authority, "starttls").send(MAIL)
    assert {taken["Message-ID"] for taken in mailbox.taken} == {"<0190-mail@seller.example>"}
    assert len(mailbox.taken) == 2


@pytest.mark.parametrize("tls", ["starttls", "from_the_start"])
async def test_a_mail_that_was_taken_is_not_sent_again_for_want_of_a_farewell(
    authority: Authority, tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes the mail and never answers QUIT."""
    monkeypatch.setattr(smtp, "_FAREWELL_WITHIN", 0.2)

    class Curt(Mailbox):
        async def handle_QUIT(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802  as above
            await asyncio.Event().wait()
            return "221 Bye"

    mailbox = Curt()
    with a_server(mailbox, authority, tls) as port:
        await a_relay(port, authority, tls).send(MAIL)
    assert len(mailbox.taken) == 1


async def test_a_wrong_password_is_no_fault_of_the_mail(authority: Authority) -> None:
    mailbox = Mailbox()
    with a_server(mailbox, authority, "starttls") as port, pytest.raises(Retryable, match="check MAIL_URL"):
        await a_relay(port, authority, "starttls", "wrong").send(MAIL)


async def test_nothing_leaves_without_tls_that_is_asked_for(authority: Authority) -> None:
    mailbox = Mailbox()
    with (
        a_server(mailbox, authority, "off") as port,
        pytest.raises(Retryable, match="STARTTLS extension not"),
    ):
        await a_relay(port, authority, "starttls").send(MAIL)
    assert (mailbox.logins, mailbox.taken) == ([], [])


@pytest.mark.parametrize("tls", ["starttls", "from_the_start"])
async def test_a_stranger_with_its_own_certificate_gets_nothing(authority: Authority, tls: Tls) -> None:
    mailbox = Mailbox()
    with a_server(mailbox, authority, tls) as port, pytest.raises(Retryable, match="does not take it now"):
        await a_relay(port, None, tls).send(MAIL)
    assert (mailbox.logins, mailbox.taken) == ([], [])


async def test_plain_where_the_devstack_asks_for_it(authority: Authority) -> None:
    mailbox = Mailbox()
    with a_server(mailbox, authority, "off") as port:
        await a_relay(port, None, "off").send(MAIL)
    assert len(mailbox.taken) == 1


async def test_letters_beyond_ascii_need_a_server_that_takes_them(authority: Authority) -> None:
    mailbox, mail = Mailbox(), OutgoingMail("jösé@example.com", "s", "t", "h", "k")
    with a_server(mailbox, authority, "starttls", enable_SMTPUTF8=True) as port:
        await a_relay(port, authority, "starttls").send(mail)
    assert len(mailbox.taken) == 1
    older = a_server(mailbox, authority, "starttls", enable_SMTPUTF8=False)
    with older as port, pytest.raises(PartnerRefused, match="SMTPUTF8"):
        await a_relay(port, authority, "starttls").send(mail)


async def test_nobody_there_is_tried_again() -> None:
    with pytest.raises(Retryable, match="does not take it now"):
        await a_relay(choose(HOST), None, "starttls").send(MAIL)


async def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    monkeypatch.setattr(smtp, "_WITHIN", 0.3)

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with serving(silent) as port, pytest.raises(Retryable, match="does not take it now"):
        await a_relay(port, authority, "starttls").send(MAIL)
