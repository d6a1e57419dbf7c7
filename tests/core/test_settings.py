"""Settings: read once, told all at once what is wrong, and never printed."""

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest

from core import settings
from core.portal_settings import PortalSettings
from core.rate_limit import Quota
from core.settings import BadSettings
from core.smtp_settings import SmtpSettings

KEY = base64.b64encode(bytes(32)).decode()
GOOD = {
    "DATABASE_URL": "postgresql://api:secret-pw@127.0.0.1/np",
    "WORKER_DATABASE_URL": "postgresql://worker:pw@127.0.0.1/np",
    "OWNER_DATABASE_URL": "postgresql://owner:pw@127.0.0.1/np",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "NP_KEK": f"k2:{KEY},k1:{KEY}",
    "NP_INDEX_KEY": KEY,
    "NP_JWT_KEYS": f"j1:{KEY}",
    "NP_AUDIT_KEYS": f"a1:{KEY}",
    "NP_LEASE_KEYS": f"l1:{KEY}",
    "STRIPE_API_KEY": "sk_test_secret",
    "STRIPE_WEBHOOK_SECRETS": "whsec_new, whsec_old",
    "NEXTPANEL_URL": "http://127.0.0.1:9000/",
    "NEXTPANEL_JWT_SECRET": "jwt-secret",
    "MAIL_URL": "http://127.0.0.1:9025",
    "NP_DEMO_ADMIN": "admin@example.com:pass:word",
    "NP_DEMO_CUSTOMER": "customer@example.com:password",
    "NP_DEMO_PLATFORM_KEY": "npk:secret",
}
READERS: list[Callable[[dict[str, str]], Any]] = [
    settings.api_settings,
    settings.worker_settings,
    settings.validator_settings,
    settings.audit_settings,
    settings.reseal_settings,
    settings.migration_settings,
    settings.demo_settings,
]


def test_defaults_are_those_of_production() -> None:
    api = settings.api_settings(GOOD)
    assert (api.environment, api.host, api.port, api.processes) == ("production", "127.0.0.1", 8001, 1)
    assert api.metrics_port == 8101
    assert api.public_url == "http://127.0.0.1:8001"
    assert api.queue_redis_url == api.redis_url
    assert api.stripe.webhook_secrets == ("whsec_new", "whsec_old")
    assert api.stripe.api_base is None
    assert api.secrets.sealer.current == "k2"
    assert api.staff_second_factor
    validator = settings.validator_settings(GOOD)
    assert (validator.port, validator.near_cache, validator.license_rate) == (8002, True, 6000)
    assert validator.remembered_bytes == 256_000_000
    assert settings.worker_settings(GOOD).nextpanel_url == "http://127.0.0.1:9000"
    assert settings.demo_settings(GOOD).admin == ("admin@example.com", "pass:word")


@pytest.mark.parametrize("read", READERS)
def test_everything_that_is_missing_is_told_at_once(read: Callable[[dict[str, str]], Any]) -> None:
    with pytest.raises(BadSettings) as fault:
        read({})
    told = str(fault.value)
    assert told.count("is not set") >= 2
    assert "docs/operations.md" in told


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DATABASE_URL", "mysql://x", "DATABASE_URL must be a URL that starts with postgresql://"),
        ("REDIS_URL", "127.0.0.1:6379", "REDIS_URL must be a URL"),
        ("NP_API_PORT", "http", "NP_API_PORT must be a whole number"),
        ("NP_API_PORT", "-1", "NP_API_PORT must be a whole number from 0 to 65535"),
        ("NP_API_PORT", "65536", "NP_API_PORT must be a whole number from 0 to 65535"),
        ("NP_LOG_LEVEL", "chatty", "NP_LOG_LEVEL must be one of debug, info, warning, error, critical"),
        ("STRIPE_WEBHOOK_SECRETS", " , ", "STRIPE_WEBHOOK_SECRETS is not set"),
        ("NP_KEK", "k1:short", "NP_KEK must be id:base64 of 32 bytes"),
        ("NP_KEK", f":{KEY}", "NP_KEK must be id:base64 of 32 bytes"),
        ("NP_TRUSTED_PROXIES", "10.0.0.1/8", "NP_TRUSTED_PROXIES must be networks"),
        ("NP_TRUSTED_PROXIES", "proxy.example.com", "NP_TRUSTED_PROXIES must be networks"),
        ("NP_LIMITS", "user=100", "NP_LIMITS must be name=requests/seconds"),
        ("NP_LIMITS", "user=0/60", "NP_LIMITS must be name=requests/seconds"),
        ("NP_LIMITS", "user=60000001/60", "NP_LIMITS must be name=requests/seconds, .* at most 1000000 a second"),
        ("NP_LIMITS", "usr=100/60", "NP_LIMITS must be name=requests/seconds, .* with names of user, address"),
        ("NP_INDEX_KEY", "!", "NP_INDEX_KEY must be base64 of 32 bytes"),
        ("NP_INDEX_KEY", base64.b64encode(bytes(16)).decode(), "NP_INDEX_KEY must be base64 of 32 bytes"),
    ],
)
def test_what_cannot_be_read_is_told_by_name(name: str, value: str, told: str) -> None:
    with pytest.raises(BadSettings, match=told) as fault:
        settings.api_settings(GOOD | {name: value})
    assert str(fault.value).count(name) == 1


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (settings.api_settings, "NP_API_METRICS_PORT"),
        (settings.worker_settings, "NP_WORKER_PORT"),
        (settings.validator_settings, "NP_VALIDATOR_PORT"),
        (settings.validator_settings, "NP_VALIDATOR_METRICS_PORT"),
    ],
)
def test_every_port_is_one(read: Callable[[dict[str, str]], Any], name: str) -> None:
    read(GOOD | {name: "0"})
    read(GOOD | {name: "65535"})
    with pytest.raises(BadSettings, match=f"{name} must be a whole number from 0 to 65535"):
        read(GOOD | {name: "65536"})


def test_limits_and_proxies_are_lists_that_may_be_short() -> None:
    plain = settings.api_settings(GOOD)
    assert (plain.trusted_proxies, plain.limits) == ((), settings.LIMITS)
    api = settings.api_settings(GOOD | {"NP_TRUSTED_PROXIES": "10.0.0.0/8, ::1", "NP_LIMITS": "user=7/1, login=1/60"})
    assert [str(network) for network in api.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    assert api.limits == {**settings.LIMITS, "user": Quota(7, 1), "login": Quota(1, 60)}


def test_what_the_portal_shows_may_be_absent() -> None:
    assert settings.api_settings(GOOD).portal == PortalSettings(None, None, None)
    told = {
        "STRIPE_PUBLISHABLE_KEY": "pk_test_1",
        "NP_SELLER_NAME": "Höchst AG",
        "NP_SUPPORT_EMAIL": "help@höchst.test",
    }
    assert settings.api_settings(GOOD | told).portal == PortalSettings(*told.values())
    unknown = GOOD | {"STRIPE_API_KEY": "mock", "STRIPE_PUBLISHABLE_KEY": "pk_live_1"}
    assert settings.api_settings(unknown).portal.stripe_publishable_key == "pk_live_1"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("STRIPE_PUBLISHABLE_KEY", "sk_test_secret", "STRIPE_PUBLISHABLE_KEY must begin with pk_test_ or pk_live_"),
        ("STRIPE_PUBLISHABLE_KEY", "rk_test_1", "STRIPE_PUBLISHABLE_KEY must begin"),
        ("STRIPE_PUBLISHABLE_KEY", "pk_test_1 sk_test_2", "STRIPE_PUBLISHABLE_KEY must begin"),
        ("STRIPE_PUBLISHABLE_KEY", "pk_live_1", "is of live mode and STRIPE_API_KEY of test mode: take both of one"),
        ("NP_SELLER_NAME", "two\nlines", "NP_SELLER_NAME must be one line of at most 200 characters"),
        ("NP_SELLER_NAME", "N" * 201, "NP_SELLER_NAME must be one line of at most 200 characters"),
        ("NP_SUPPORT_EMAIL", "Help <help@example.com>", "NP_SUPPORT_EMAIL must be an e-mail address"),
        ("NP_SUPPORT_EMAIL", "help", "NP_SUPPORT_EMAIL must be an e-mail address"),
    ],
)
def test_what_the_portal_must_not_show_stops_the_start(name: str, value: str, told: str) -> None:
    """Above all a secret key in the wrong place, which is not repeated in the text either."""
    with pytest.raises(BadSettings, match=told) as fault:
        settings.api_settings(GOOD | {name: value})
    assert value not in str(fault.value)


def test_a_log_level_may_be_in_capitals() -> None:
    assert settings.api_settings(GOOD | {"NP_LOG_LEVEL": "DEBUG"}).log_level == "debug"


def test_only_the_api_needs_the_secrets_of_webhooks() -> None:
    without = {name: value for name, value in GOOD.items() if name != "STRIPE_WEBHOOK_SECRETS"}
    assert settings.worker_settings(without).stripe.webhook_secrets == ()
    with pytest.raises(BadSettings, match="STRIPE_WEBHOOK_SECRETS is not set"):
        settings.api_settings(without)


def test_the_near_cache_can_be_switched_off() -> None:
    assert settings.validator_settings(GOOD | {"NP_NEAR_CACHE": "off"}).near_cache is False
    with pytest.raises(BadSettings, match="NP_NEAR_CACHE must be true or false"):
        settings.validator_settings(GOOD | {"NP_NEAR_CACHE": "perhaps"})


@pytest.mark.parametrize("read", READERS)
def test_settings_are_not_printed(read: Callable[[dict[str, str]], Any]) -> None:
    printed = repr(read(GOOD))
    assert not any(value in printed for value in GOOD.values())


@pytest.mark.parametrize(
    ("environment", "given", "required"),
    [("devstack", "", False), ("production", "", True), ("devstack", "on", True), ("production", "off", False)],
)
def test_staff_need_a_second_factor_outside_of_the_devstack(environment: str, given: str, required: bool) -> None:
    variables = GOOD | {"NP_ENVIRONMENT": environment, "NP_STAFF_SECOND_FACTOR": given}
    assert settings.api_settings(variables).staff_second_factor is required


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("smtp://mail.example.com", ("mail.example.com", 587, None, None, "starttls")),
        (
            "smtps://ada:p%40ss%3Aword@mail.example.com/",
            ("mail.example.com", 465, "ada", "p@ss:word", "from_the_start"),
        ),
        ("smtp://mail.example.com:2525", ("mail.example.com", 2525, None, None, "starttls")),
    ],
)
def test_mails_may_go_to_a_mail_server(url: str, read: tuple[Any, ...]) -> None:
    sender = "Example <billing@example.com>"
    mail = settings.worker_settings(GOOD | {"MAIL_URL": url, "NP_MAIL_FROM": sender}).mail
    assert isinstance(mail, SmtpSettings)
    assert (mail.host, mail.port, mail.user, mail.password, mail.tls) == read
    assert mail.sender == sender
    assert "p@ss" not in repr(mail)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"MAIL_URL": "smtp://mail.example.com", "NP_MAIL_FROM": ""}, "NP_MAIL_FROM must be an e-mail address"),
        ({"NP_MAIL_FROM": "Example"}, "NP_MAIL_FROM must be an e-mail address"),
        ({"NP_MAIL_FROM": "a@example.com, b@example.com"}, "NP_MAIL_FROM must be an e-mail address"),
        ({"NP_MAIL_FROM": "a@example.com\nBcc: b@example.com"}, "NP_MAIL_FROM must be an e-mail address"),
        ({"MAIL_URL": "smtp:///"}, "MAIL_URL must be smtp://user"),
        ({"MAIL_URL": "smtp://mail.example.com?starttls=no"}, "MAIL_URL must be smtp://user"),
        ({"MAIL_URL": "smtp://mail.example.com:66000"}, "MAIL_URL "),
        ({"MAIL_URL": "smtp://mail.example.com?starttls=off"}, "MAIL_URL must not switch STARTTLS off"),
        ({"MAIL_URL": "ftp://mail.example.com"}, "MAIL_URL must be a URL that starts with http or"),
    ],
)
def test_a_mail_server_that_cannot_be_used_is_told_at_the_start(given: dict[str, str], told: str) -> None:
    usual = {"MAIL_URL": "smtp://mail.example.com", "NP_MAIL_FROM": "billing@example.com"}
    with pytest.raises(settings.BadSettings, match=re.escape(told)):
        settings.worker_settings(GOOD | usual | given)


def test_the_devstack_may_do_without_tls() -> None:
    given = {
        "NP_ENVIRONMENT": "devstack",
        "MAIL_URL": "smtp://127.0.0.1:1025?starttls=off",
        "NP_MAIL_FROM": "a@b.example",
    }
    mail = settings.worker_settings(GOOD | given).mail
    assert isinstance(mail, SmtpSettings)
    assert mail.tls == "off"
