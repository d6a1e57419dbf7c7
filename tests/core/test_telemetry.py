"""Logs never hold a secret: neither under its name nor by its shape."""

import json
import subprocess
import sys

import pytest

from core.telemetry import redact
from tests.support.servers import ROOT

SECRETS = (
    "NP-AB12-CD34-EF56",
    "np-ab12-cd34-ef56",
    "NPAB12CD34EF56",
    "sk_test_4eC39HqLyjWDarjtT1zdp7dc",
    "whsec_0123456789abcdef",
)
TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize("secret", [*SECRETS, TOKEN])
def test_a_secret_is_known_by_its_shape(secret: str) -> None:
    event = redact(None, "info", {"event": "something", "detail": f"it said {secret} and went on"})
    assert secret not in str(event)
    assert "and went on" in event["detail"]


@pytest.mark.parametrize(
    "name", ["password", "api_secret", "refresh_token", "Authorization", "cookie", "license_key", "np_signature", "cvc"]
)
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert redact(None, "info", {"event": "x", name: "anything"})[name] == "[redacted]"


def test_what_is_no_secret_stays() -> None:
    event = {"event": "license.suspended", "license_id": "01a2", "attempts": 3, "path": "/api/v1/licenses"}
    assert redact(None, "info", dict(event)) == event


def test_a_line_is_one_json_object() -> None:
    """In a process of its own: logging is set up once for a process, and this one has other plans."""
    script = (
        "from core.telemetry import configure_logging, logger\n"
        "configure_logging('tests')\n"
        f"logger().error('it.failed', license_id='01a2', exc_info=ValueError('no such key {SECRETS[0]}'))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    line = json.loads(done.stderr.splitlines()[-1])
    assert (line["event"], line["license_id"], line["process"], line["level"]) == (
        "it.failed",
        "01a2",
        "tests",
        "error",
    )
    assert "ValueError" in line["exception"]
    assert SECRETS[0] not in done.stderr
