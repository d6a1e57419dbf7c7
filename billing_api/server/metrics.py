"""Metrics of all API processes: the process that started them adds them up and serves them on a port of its own.

A scrape of the API's port would reach one of several processes. It would see the counters of that one, and take those
of the next one for a reset. So each process counts in files of a shared folder (prometheus_client's multiprocess mode),
and the master adds them up. Customers must not reach this port: how many of them pay, and what fails, is internal.
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

_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108  a file system; the folder in it has an unpredictable name
_LIVE_GAUGE: Final = re.compile(r"gauge_live\w*_(\d+)")


@contextmanager
def metrics_server(host: str, port: int) -> Iterator[None]:
    """Serves the metrics of the processes that are started in this block."""
    with TemporaryDirectory(prefix="billing_api-metrics-", dir=_memory()) as folder:
        count_in(folder)
        registry = CollectorRegistry()
        registry.register(AllProcesses(Path(folder)))
        server, thread = start_http_server(port, addr=host, registry=registry)
        server.set_app(_head_as_get(server.get_app()))
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _memory() -> str | None:
    """A folder in memory where there is one: with a full disk, writing to a mapped file kills the process (SIGBUS)."""
    return _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None


class AllProcesses(Collector):
    """Counters and histograms of all processes, ended ones included; gauges of running processes only."""

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
    """HEAD as a GET without its body (RFC 9110, 9.3.2); prometheus_client's application refuses HEAD."""

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
    except PermissionError:  # a process of another user
        return True
    return True
