"""A webhook endpoint: keeps what it is sent, and answers as it is told."""

import json
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from typing_extensions import override

from tests.devstack.simulators.running import eventually


@dataclass(frozen=True)
class Arrival:
    body: str
    signature: str

    @property
    def event(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded


class Receiver:
    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.answers: deque[int] = deque()
        """Statuses for the next arrivals; 200 after that."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/webhooks"

    def take(self, arrival: Arrival) -> int:
        self.arrivals.append(arrival)
        return self.answers.popleft() if self.answers else 200

    def kinds(self) -> list[str]:
        return [arrival.event["type"] for arrival in list(self.arrivals)]

    def ids(self) -> list[str]:
        return [arrival.event["id"] for arrival in list(self.arrivals)]

    def wait_for(self, count: int) -> list[Arrival]:
        eventually(lambda: len(self.arrivals) >= count)
        return list(self.arrivals)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that http.server calls
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # the sender died while it sent: nothing has arrived, nobody waits for an answer
                return
            status = receiver.take(Arrival(body.decode(), self.headers["Stripe-Signature"]))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        @override
        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: the test looks at the arrivals."""

    return Handler
