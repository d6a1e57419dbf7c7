"""Logs: JSON lines of all code in the process, without secrets."""

import json
import subprocess
import sys
from typing import Any, Final

from core.telemetry import redact
from tests.support.servers import ROOT

KEY: Final = "NP-AB12-CD34-EF56"
WORD: Final = "seven-green-bicycles"


def lines(script: str) -> tuple[list[dict[str, Any]], str]:
    """The log of another process, because logging is set up once for each process."""
    begin = "import logging, warnings\nfrom core.telemetry import configure_logging, logger\n"
    argv = [sys.executable, "-c", begin + script]
    told = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout == ""
    return [json.loads(line) for line in told.stderr.splitlines()], told.stderr


def test_an_event_is_redacted() -> None:
    event = {"event": f"about {KEY}", "password": WORD, "order": {"token": WORD}, "attempts": 3}
    wanted = {"event": "about [redacted]", "password": "[redacted]", "order": {"token": "[redacted]"}, "attempts": 3}
    assert redact(None, "info", event) == wanted


def test_a_line_is_one_json_object() -> None:
    script = (
        "configure_logging('tests')\n"
        f"logger().error('it.failed', license_id='01a2', exc_info=ValueError('no such key {KEY}'))"
    )
    (line,), text = lines(script)
    told = (line["event"], line["license_id"], line["process"], line["level"])
    assert told == ("it.failed", "01a2", "tests", "error")
    assert "ValueError" in line["exception"]
    assert KEY not in text


def test_every_text_and_number_becomes_a_line_of_ascii() -> None:
    script = r"""
configure_logging('tests')
logger().info('it.happened', name='Grüße', cut='half \ud800', many=2**70, line='a\u2028b\nc')
"""
    (line,), text = lines(script)
    assert (line["name"], line["cut"], line["many"], line["line"]) == ("Grüße", "half \ud800", 2**70, "a\u2028b\nc")
    assert text.isascii()


def test_what_others_log_ends_in_the_same_lines() -> None:
    script = (
        "configure_logging('tests')\n"
        f"logging.getLogger('httpx').warning('GET %s failed', 'https://x.test/?token={WORD}')\n"
        "try:\n"
        f"    raise ValueError('password={WORD}')\n"
        "except ValueError:\n"
        "    logging.getLogger('asyncio').exception('never retrieved')\n"
        f"warnings.warn('secret={WORD}', UserWarning)"
    )
    told, text = lines(script)
    assert [(line["logger"], line["level"], line["process"]) for line in told] == [
        ("httpx", "warning", "tests"),
        ("asyncio", "error", "tests"),
        ("py.warnings", "warning", "tests"),
    ]
    assert told[0]["event"] == "GET https://x.test/?token=[redacted] failed"
    assert "ValueError" in told[1]["exception"]
    assert WORD not in text


def test_loggers_that_print_by_themselves_are_taken_over() -> None:
    """Like the loggers of a server that has set them up before it calls us."""
    script = (
        "loud = logging.getLogger('loud')\n"
        "loud.addHandler(logging.StreamHandler())\n"
        "loud.propagate = False\n"
        "configure_logging('tests', take_over=('loud',))\n"
        f"loud.error('token={WORD}')"
    )
    (line,), _ = lines(script)
    assert (line["event"], line["logger"]) == ("token=[redacted]", "loud")
