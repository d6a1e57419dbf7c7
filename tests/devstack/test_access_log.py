"""What a proxy in front writes down: the shipped log format, read by the real nginx."""

import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from devstack.ports import choose
from tests.support.servers import ROOT

FORMAT = ROOT / "deploy" / "nginx" / "access_log.conf"
TOKEN = "a-token-of-a-mailed-link"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


def test_the_format_names_nothing_that_holds_a_query() -> None:
    lines = [line for line in FORMAT.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    named = set(re.findall(r"\$(\w+)", "\n".join(lines)))
    assert "uri" in named
    assert named.isdisjoint({"request", "request_uri", "args", "query_string", "http_referer", "is_args"})
    assert not [name for name in named if name.startswith(("arg_", "cookie_"))]


@pytest.mark.skipif(NGINX is None, reason="there is no nginx on this machine")
def test_no_token_of_a_link_reaches_the_log(tmp_path: Path) -> None:
    assert NGINX is not None
    port = choose("127.0.0.1")
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log crit;\n"
        "events { }\n"
        f"http {{ include {FORMAT}; access_log {tmp_path}/access.log nextpanel_without_queries;\n"
        + "".join(
            f"  {kind}_temp_path {tmp_path}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + f"  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:1; }} }} }}\n",
        encoding="utf-8",
    )
    nginx = subprocess.Popen([NGINX, "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path)])
    try:
        links = ("verify-email", "reset-password", "confirm-email", "undo-email-change")
        statuses = {ask(port, f"/{path}?token={TOKEN}") for path in links}
        assert statuses == {502}, "nobody is behind it, and that is logged too"
    finally:
        nginx.send_signal(signal.SIGQUIT)
        assert nginx.wait(timeout=10) == 0
    written = (tmp_path / "access.log").read_text() + (tmp_path / "error.log").read_text()
    assert [f"GET /{path} HTTP/1.1" in written for path in links] == [True] * 4
    assert TOKEN not in written


def ask(port: int, target: str) -> int:
    """Once nginx listens."""
    deadline = time.monotonic() + 20
    while True:
        try:
            headers = {"Referer": f"http://127.0.0.1:{port}{target}"}
            return httpx.get(f"http://127.0.0.1:{port}{target}", headers=headers).status_code
        except httpx.ConnectError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
