"""Routes of every simulator: health, and `/_sim/faults` and `/_sim/requests` around its own routes."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from litestar import Litestar, Request, Response, delete, get, post
from litestar.types import ControllerRouterHandler

from devstack.simulators.asgi import Application
from devstack.simulators.faults import Fault, FaultyLayer
from devstack.simulators.recording import Received, Recorder

Handler = Callable[[Request[Any, Any, Any], Any], Response[Any]]


def stand_in(
    routes: Sequence[ControllerRouterHandler],
    *,
    default_error: Callable[[int], Any],
    handlers: Mapping[int | type[Exception], Handler],
    **litestar: Any,
) -> Application:
    """The simulator's routes as an ASGI application; `default_error` is the body of a fault that names none."""

    def crashed(_request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        traceback.print_exception(
            error
        )  # a fault of the simulator's own belongs on the terminal of the person who runs it
        return Response(default_error(500), status_code=500)

    app = Litestar(
        [*routes, live, ready],
        openapi_config=None,
        logging_config=None,
        exception_handlers={**handlers, Exception: crashed},
        **litestar,
    )
    faulty = FaultyLayer(cast(Application, app), default_error)
    recorder = Recorder(faulty)
    for handler in _controls(faulty, recorder):
        app.register(handler)
    return recorder


@get("/health/live", sync_to_thread=False)
def live() -> dict[str, str]:
    return {"status": "live"}


@get("/health/ready", sync_to_thread=False)
def ready() -> dict[str, str]:
    return {"status": "ready"}


def _controls(faulty: FaultyLayer, recorder: Recorder) -> Sequence[ControllerRouterHandler]:
    @post("/_sim/faults", status_code=200)
    async def add_faults(data: Fault | list[Fault]) -> dict[str, list[Fault]]:
        faulty.faults.extend(data if isinstance(data, list) else [data])
        return {"items": faulty.faults}

    @get("/_sim/faults")
    async def list_faults() -> dict[str, list[Fault]]:
        return {"items": faulty.faults}

    @delete("/_sim/faults")
    async def clear_faults() -> None:
        faulty.faults.clear()

    @get("/_sim/requests")
    async def list_requests() -> dict[str, list[Received]]:
        return {"items": list(recorder.received)}

    @delete("/_sim/requests")
    async def clear_requests() -> None:
        recorder.received.clear()

    return (add_faults, list_faults, clear_faults, list_requests, clear_requests)
