"""Settings: the only file that reads the environment.

Each process reads its settings once, in its `__main__`, and passes them down; they never change afterwards. A value
that is missing or cannot be read is told by name, all of them at once, with what to do.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal, TypeVar
from urllib.parse import urlsplit

from core.crypto.sealing import KEY_BYTES, KeyedHash, Sealer
from core.environment import Reader
from core.portal_settings import PortalSettings, portal_settings
from core.rate_limit import Quota
from core.smtp_settings import SCHEMES as SMTP_SCHEMES
from core.smtp_settings import SmtpSettings, is_sender, smtp_settings

T = TypeVar("T")
Environment = Literal["devstack", "production"]

LIMITS: Final[Mapping[str, Quota]] = {
    "user": Quota(100, 60),
    "address": Quota(1_000, 60),
    "webhook_failures": Quota(1_000, 3_600),
    "signature_failures": Quota(60, 60),
    "login": Quota(30, 60),
    "register": Quota(20, 3_600),
    "password": Quota(20, 3_600),
    "activation": Quota(30, 60),
    "search": Quota(30, 60),
    "service_account": Quota(6_000, 60),
}
"""How often somebody may call the billing API.

`user` counts for each user, `service_account` for each of them, all others for each address.
"""

_LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")


class BadSettings(Exception):
    """One line for each setting that is missing or wrong."""


def process_environment() -> dict[str, str]:
    """A copy of this process's environment, for a supervisor or a test that starts children."""
    return dict(os.environ)


def count_in(folder: str) -> None:
    """Lets prometheus_client keep its counters in this folder, in processes that start from now on."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder


@dataclass(frozen=True, repr=False)
class Secrets:
    """Keys that never leave the process. No repr: a traceback must not print them."""

    sealer: Sealer
    index: KeyedHash
    license_checksum_key: bytes


@dataclass(frozen=True, repr=False)
class ApiSettings:
    environment: Environment
    host: str
    port: int
    metrics_port: int
    processes: int
    database_url: str
    redis_url: str
    queue_redis_url: str
    public_url: str
    portal_url: str | None
    cors_origins: tuple[str, ...]
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    """Whose X-Forwarded-For is believed."""
    limits: Mapping[str, Quota]
    secrets: Secrets
    jwt_keys: Mapping[str, bytes]
    staff_second_factor: bool
    """Whether what only staff may do takes a sign-in with a second factor."""
    stripe: "StripeSettings"
    portal: PortalSettings
    drain_seconds: int
    """For how long a process that was asked to stop serves on, so that its load balancer sends it nothing more."""
    log_level: str


@dataclass(frozen=True, repr=False)
class StripeSettings:
    api_key: str
    api_base: str | None
    webhook_secrets: tuple[str, ...] = ()

    @property
    def livemode(self) -> bool:
        """Whether the key moves real money: `sk_live_…` or `rk_live_…`."""
        return "_live_" in self.api_key


@dataclass(frozen=True, repr=False)
class WorkerSettings:
    environment: Environment
    host: str
    port: int
    database_url: str
    redis_url: str
    queue_redis_url: str
    public_url: str
    portal_url: str | None
    secrets: Secrets
    stripe: StripeSettings
    nextpanel_url: str
    nextpanel_jwt_secret: str
    mail: str | SmtpSettings
    """A relay that takes mails over HTTP, by its address; or a mail server."""
    lease_keys: Mapping[str, bytes]
    audit_keys: Mapping[str, bytes]
    reconcile_seconds: int
    drain_seconds: int
    log_level: str


@dataclass(frozen=True, repr=False)
class StoreSettings:
    """Both stores as the workers reach them, for commands that look at them."""

    database_url: str
    redis_url: str


@dataclass(frozen=True, repr=False)
class AuditSettings:
    """For the command that proves the audit trail."""

    database_url: str
    audit_keys: Mapping[str, bytes]


@dataclass(frozen=True, repr=False)
class ResealSettings:
    """For the command that seals secrets anew: both stores, and the key-encryption keys."""

    database_url: str
    redis_url: str
    secrets: Secrets


@dataclass(frozen=True, repr=False)
class HintSettings:
    """For the command that writes key hints: the database, and the key-encryption keys."""

    database_url: str
    secrets: Secrets


@dataclass(frozen=True, repr=False)
class ValidatorSettings:
    environment: Environment
    host: str
    port: int
    metrics_port: int
    processes: int
    redis_url: str
    secrets: Secrets
    near_cache: bool
    remembered_bytes: int
    """What one process may use to remember licenses, questions and API keys."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    """Whose X-Forwarded-For is believed."""
    signature_failures: Quota
    """How often an address may send a signature to one process that does not hold."""
    license_rate: int
    """Requests a second that a license's own key may make of one process; platform keys may make any number."""
    drain_seconds: int
    log_level: str


@dataclass(frozen=True, repr=False)
class MigrationSettings:
    owner_database_url: str
    api_database_url: str
    worker_database_url: str


@dataclass(frozen=True, repr=False)
class DemoSettings:
    """Demo people, given by the devstack; `email:password` and `key id:secret`."""

    admin: tuple[str, str]
    customer: tuple[str, str]
    platform_key: tuple[str, str]


class _Settings(Reader):
    """The values that more than one kind of process reads."""

    def lease_keys(self) -> dict[str, bytes]:
        """The devstack can do without: a key that lives for one start, its public half published like any other."""
        if self.environment() == "devstack" and not self.optional("NP_LEASE_KEYS"):
            return {f"devstack-{os.urandom(4).hex()}": os.urandom(KEY_BYTES)}
        return self.keys("NP_LEASE_KEYS")

    def secrets(self) -> Secrets:
        keyed_hash = KeyedHash(self.key("NP_INDEX_KEY"))
        return Secrets(Sealer(self.keys("NP_KEK")), keyed_hash, keyed_hash.digest("license_key_checksum", ""))

    def environment(self) -> Environment:
        return "devstack" if self.text("NP_ENVIRONMENT", "production") == "devstack" else "production"

    def stripe(self, *, receives_events: bool) -> StripeSettings:
        """A process that receives events needs a secret: without one it would refuse every event silently."""
        secrets = self.some("STRIPE_WEBHOOK_SECRETS") if receives_events else ()
        return StripeSettings(self.text("STRIPE_API_KEY"), self.optional("STRIPE_API_BASE"), secrets)

    def mail(self) -> str | SmtpSettings:
        url, sender = self.url("MAIL_URL", "http", "https", *SMTP_SCHEMES), self.optional("NP_MAIL_FROM")
        if urlsplit(url).scheme not in SMTP_SCHEMES:
            return url.rstrip("/")
        if sender is None or not is_sender(sender):
            self.faults.append("NP_MAIL_FROM must be an e-mail address, or a name and <address>")
            return url
        try:
            return smtp_settings(url, sender, may_be_plain=self.environment() == "devstack")
        except ValueError as fault:
            self.faults.append(f"MAIL_URL {fault}")
            return ""

    def seconds(self, name: str, default: int, *, least: int = 1) -> int:
        def parse(raw: str) -> int:
            if int(raw) < least:
                raise ValueError
            return int(raw)

        return self.parsed(name, str(default), parse, f"a whole number from {least}", default)

    def drain_seconds(self) -> int:
        """A devstack has no load balancer that would have to be waited for."""
        return self.seconds("NP_DRAIN_SECONDS", 0 if self.environment() == "devstack" else 5, least=0)

    def log_level(self) -> str:
        return self.one_of("NP_LOG_LEVEL", _LOG_LEVELS, "info")

    def done(self, settings: T) -> T:
        if self.faults:
            raise BadSettings("; ".join(self.faults) + " (every setting is described in docs/operations.md)")
        return settings


def _reader(source: Mapping[str, str] | None) -> _Settings:
    return _Settings(os.environ if source is None else source)


def api_settings(source: Mapping[str, str] | None = None) -> ApiSettings:
    r = _reader(source)
    redis_url = r.url("REDIS_URL", "redis", "rediss", "unix")
    port = r.port("NP_API_PORT", 8001)
    public_url = r.url("NP_PUBLIC_URL", "http", "https", default=f"http://127.0.0.1:{port}")
    stripe = r.stripe(receives_events=True)
    return r.done(
        ApiSettings(
            environment=r.environment(),
            host=r.text("NP_HOST", "127.0.0.1"),
            port=port,
            metrics_port=r.port("NP_API_METRICS_PORT", 8101),
            processes=r.number("NP_API_PROCESSES", 1),
            database_url=r.url("DATABASE_URL", "postgresql"),
            redis_url=redis_url,
            queue_redis_url=r.url("QUEUE_REDIS_URL", "redis", "rediss", "unix", default=redis_url),
            public_url=public_url.rstrip("/"),
            portal_url=r.optional("NP_PORTAL_URL"),
            cors_origins=r.listed("NP_CORS_ORIGINS"),
            trusted_proxies=r.networks("NP_TRUSTED_PROXIES"),
            limits=r.quotas("NP_LIMITS", LIMITS),
            secrets=r.secrets(),
            jwt_keys=r.keys("NP_JWT_KEYS"),
            staff_second_factor=r.flag("NP_STAFF_SECOND_FACTOR", default=r.environment() != "devstack"),
            stripe=stripe,
            portal=portal_settings(r, stripe.api_key),
            drain_seconds=r.drain_seconds(),
            log_level=r.log_level(),
        )
    )


def worker_settings(source: Mapping[str, str] | None = None) -> WorkerSettings:
    r = _reader(source)
    redis_url = r.url("REDIS_URL", "redis", "rediss", "unix")
    return r.done(
        WorkerSettings(
            environment=r.environment(),
            host=r.text("NP_HOST", "127.0.0.1"),
            port=r.port("NP_WORKER_PORT", 8003),
            database_url=r.url("WORKER_DATABASE_URL", "postgresql"),
            redis_url=redis_url,
            queue_redis_url=r.url("QUEUE_REDIS_URL", "redis", "rediss", "unix", default=redis_url),
            public_url=r.url("NP_PUBLIC_URL", "http", "https", default="http://127.0.0.1:8001").rstrip("/"),
            portal_url=r.optional("NP_PORTAL_URL"),
            secrets=r.secrets(),
            stripe=r.stripe(receives_events=False),
            nextpanel_url=r.url("NEXTPANEL_URL", "http", "https").rstrip("/"),
            nextpanel_jwt_secret=r.text("NEXTPANEL_JWT_SECRET"),
            mail=r.mail(),
            lease_keys=r.lease_keys(),
            audit_keys=r.keys("NP_AUDIT_KEYS"),
            reconcile_seconds=r.seconds("NP_RECONCILE_SECONDS", 60),
            drain_seconds=r.drain_seconds(),
            log_level=r.log_level(),
        )
    )


def store_settings(source: Mapping[str, str] | None = None) -> StoreSettings:
    r = _reader(source)
    return r.done(
        StoreSettings(r.url("WORKER_DATABASE_URL", "postgresql"), r.url("REDIS_URL", "redis", "rediss", "unix"))
    )


def audit_settings(source: Mapping[str, str] | None = None) -> AuditSettings:
    r = _reader(source)
    return r.done(AuditSettings(r.url("WORKER_DATABASE_URL", "postgresql"), r.keys("NP_AUDIT_KEYS")))


def reseal_settings(source: Mapping[str, str] | None = None) -> ResealSettings:
    r = _reader(source)
    return r.done(
        ResealSettings(
            r.url("WORKER_DATABASE_URL", "postgresql"), r.url("REDIS_URL", "redis", "rediss", "unix"), r.secrets()
        )
    )


def hint_settings(source: Mapping[str, str] | None = None) -> HintSettings:
    r = _reader(source)
    return r.done(HintSettings(r.url("WORKER_DATABASE_URL", "postgresql"), r.secrets()))


def validator_settings(source: Mapping[str, str] | None = None) -> ValidatorSettings:
    r = _reader(source)
    port = r.port("NP_VALIDATOR_PORT", 8002)
    return r.done(
        ValidatorSettings(
            environment=r.environment(),
            host=r.text("NP_HOST", "127.0.0.1"),
            port=port,
            metrics_port=r.port("NP_VALIDATOR_METRICS_PORT", 8102),
            processes=r.number("NP_VALIDATOR_PROCESSES", os.cpu_count() or 1),
            redis_url=r.url("REDIS_URL", "redis", "rediss", "unix"),
            secrets=r.secrets(),
            near_cache=r.flag("NP_NEAR_CACHE", default=True),
            remembered_bytes=r.number("NP_REMEMBERED_MB", 256) * 1_000_000,
            trusted_proxies=r.networks("NP_TRUSTED_PROXIES"),
            signature_failures=r.quotas("NP_LIMITS", LIMITS)["signature_failures"],
            license_rate=r.number("NP_LICENSE_RATE", 6000),
            drain_seconds=r.drain_seconds(),
            log_level=r.log_level(),
        )
    )


def migration_settings(source: Mapping[str, str] | None = None) -> MigrationSettings:
    r = _reader(source)
    return r.done(
        MigrationSettings(
            r.url("OWNER_DATABASE_URL", "postgresql"),
            r.url("DATABASE_URL", "postgresql"),
            r.url("WORKER_DATABASE_URL", "postgresql"),
        )
    )


def demo_settings(source: Mapping[str, str] | None = None) -> DemoSettings:
    r = _reader(source)
    return r.done(DemoSettings(r.pair("NP_DEMO_ADMIN"), r.pair("NP_DEMO_CUSTOMER"), r.pair("NP_DEMO_PLATFORM_KEY")))
