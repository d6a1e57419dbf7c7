"""Settings for processes under test: keys that are used nowhere else, and the addresses of this run's servers."""

import base64
from typing import Final

from core.settings import LIMITS
from devstack.ports import choose
from tests.support.secrets_in_use import learn_settings
from tests.support.servers import DatabaseUrls

_KEY: Final = base64.b64encode(bytes(range(32))).decode()
STRIPE_KEY: Final = "sk_test_0123456789"
PUBLISHABLE_KEY: Final = "pk_test_0123456789"
WEBHOOK_SECRET: Final = "whsec_0123456789abcdef"
NEXTPANEL_SECRET: Final = "nextpanel-jwt-secret-of-the-tests"
WIDE_LIMITS: Final = ",".join(f"{name}=1000000/60" for name in LIMITS)
"""All tests of a worker use one client address, so limits are high; tests of limits set their own."""


def environment(urls: DatabaseUrls, *, redis_url: str, **more: str) -> dict[str, str]:
    """The variables that core.settings reads, for every kind of process; `more` adds or replaces some."""
    described = {
        "NP_ENVIRONMENT": "devstack",
        "NP_LOG_LEVEL": "warning",
        "OWNER_DATABASE_URL": urls.owner,
        "DATABASE_URL": urls.api,
        "WORKER_DATABASE_URL": urls.worker,
        "REDIS_URL": redis_url,
        "NP_KEK": f"k1:{_KEY}",
        "NP_INDEX_KEY": _KEY,
        "NP_JWT_KEYS": f"j1:{_KEY}",
        "NP_AUDIT_KEYS": f"a1:{_KEY}",
        "STRIPE_API_KEY": STRIPE_KEY,
        "STRIPE_PUBLISHABLE_KEY": PUBLISHABLE_KEY,
        "STRIPE_API_BASE": "http://127.0.0.1:1",
        "STRIPE_WEBHOOK_SECRETS": WEBHOOK_SECRET,
        "NEXTPANEL_URL": "http://127.0.0.1:1",
        "NEXTPANEL_JWT_SECRET": NEXTPANEL_SECRET,
        "MAIL_URL": "http://127.0.0.1:1",
        "NP_LIMITS": WIDE_LIMITS,
        "NP_API_METRICS_PORT": str(choose("127.0.0.1")),
    } | more
    learn_settings(described)
    return described
