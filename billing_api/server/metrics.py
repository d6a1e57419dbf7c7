"""What the API's processes count, added up and shown by the process that started them, on a port of its own.

A request meets one of several processes, and so would a scrape: it would see that one's counters, and take those of the
next one for a reset. So each process counts in files of a folder that they share (the multiprocess mode of
prometheus_client), and the master adds them up. The port is not the customers': how many of them pay, and what fails,
is not theirs to read.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from typing_extensions import override

from core.settings import count_in

_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108  a file system; in it the folder has a name that nobody can foretell
_LIVE_GAUGE: Final = re.compile(r"gauge_live\w*_(\d+)")


@contextmanager
def shown(host: str, port: int) -> Iterator[None]:
    """Serves what the processes count that are started in this block."""
    with TemporaryDirectory(prefix="billing_api-metrics-", dir=_memory()) as folder:
        count_in(folder)
        registry = CollectorRegistry()
        registry.register(Sum(Path(folder)))
        server, thread = start_http_server(port, addr=host, registry=registry)
        server.set_app(_head_as_get(server.get_app()))
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _memory() -> str | None:
    """In memory, where that can be: a full disk ends each process that writes to a file it has mapped (SIGBUS)."""
    return _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None


class Sum(Collector):
    """All processes' counters and histograms, those of ended ones included; of gauges only what lives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = MultiProcessCollector(None, path=str(folder))  # type: ignore[no-untyped-call]  # left untyped

    @override
    def collect(self) -> Iterable[Metric]:
        for file in self._folder.glob("gauge_live*.db"):
            counted_by = _LIVE_GAUGE.fullmatch(file.stem)
            if counted_by and not _lives(int(counted_by[1])):
                mark_process_dead(int(counted_by[1]), path=str(self._folder))  # type: ignore[no-untyped-call]  # left untyped
        collected: Iterable[Metric] = self._files.collect()  # type: ignore[no-untyped-call]  # left untyped
        return collected


def _head_as_get(app: Any) -> WSGIApplication:
    """The package's application refuses HEAD, which is a GET without the body (RFC 9110, 9.3.2)."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "HEAD":
            content: Iterable[bytes] = app(environ, start_response)
            return content
        started: list[tuple[str, list[tuple[str, str]]]] = []
        size = sum(map(len, app({**environ, "REQUEST_METHOD": "GET"}, lambda *head: started.append(head))))
        (status, headers), *_ = started
        start_response(status, [*headers, ("Content-Length", str(size))])
        return ()

    return answer


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody's
        return True
    return True
