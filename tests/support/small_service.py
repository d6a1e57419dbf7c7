"""Minimal service: it answers /health/ready, and has one worker process, like Granian's masters.

Arguments: port, diary, and a behavior: `deaf` ignores SIGTERM, `careless` leaves its worker running when it ends,
`slow` is not ready for a while.
"""

import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from typing_extensions import override

PORT, DIARY, MANNERS = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
WORKER = subprocess.Popen((sys.executable, "-c", "import signal; signal.pause()"))
READY_AT = time.monotonic() + (0.5 if "slow" in MANNERS else 0)


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if time.monotonic() >= READY_AT else 503)
        self.end_headers()

    @override
    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def note(what: str) -> None:
    with DIARY.open("a") as diary:
        diary.write(f"{PORT} {what}\n")


def end(*_: Any) -> None:
    note("asked")
    if "deaf" not in MANNERS:
        if "careless" not in MANNERS:
            WORKER.terminate()
        sys.exit(0)


signal.signal(signal.SIGTERM, end)
note("started")
# A thread for each connection: a silent one must not block the supervisor's probe.
ThreadingHTTPServer(("127.0.0.1", PORT), Answer).serve_forever()
