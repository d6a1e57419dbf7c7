"""Request metrics: how many requests each route answered, how they ended, and how long they took.

The processes' numbers are added up by billing_api/server/metrics.py. A counter's child is looked up once for each route
and status: the lookup by labels costs more than the count.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_APP: Final = "billing_api"
_LABELS: Final = ("method", "path", "status_code", "app_name")
_SERVER_ERROR: Final = 500

_REQUESTS: Final = Counter(f"{_APP}_requests_total", "Total requests", _LABELS)
_ERRORS: Final = Counter(f"{_APP}_requests_error_total", "Total errors in requests", _LABELS)
_SECONDS: Final = Histogram(f"{_APP}_request_duration_seconds", "Request duration, in seconds", _LABELS)
_IN_PROGRESS: Final = Gauge(
    f"{_APP}_requests_in_progress", "Total requests currently in progress", _LABELS, multiprocess_mode="livesum"
)


class RouteMetrics:
    """The metrics of one method on one path; the path is the route's template, without ids."""

    def __init__(self, method: str, path: str) -> None:
        self._method = method
        self._path = path
        self.in_progress = _IN_PROGRESS.labels(method, path, 200, _APP)
        self._ended: dict[int, tuple[Counter, Histogram]] = {}

    def count(self, status: int, seconds: float) -> None:
        """Counts a request that has ended."""
        found = self._ended.get(status)
        if found is None:
            labels = (self._method, self._path, status, _APP)
            found = self._ended[status] = _REQUESTS.labels(*labels), _SECONDS.labels(*labels)
        number, duration = found
        number.inc()
        duration.observe(seconds)
        if status >= _SERVER_ERROR:
            _ERRORS.labels(self._method, self._path, status, _APP).inc()


_routes: Final[dict[tuple[str, str], RouteMetrics]] = {}


def route_metrics(method: str, path: str) -> RouteMetrics:
    """Cached: there is one for each route of the application."""
    found = _routes.get((method, path))
    if found is None:
        found = _routes[method, path] = RouteMetrics(method, path)
    return found
