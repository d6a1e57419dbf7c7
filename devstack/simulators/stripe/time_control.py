"""Routes by which a person or a test moves the time of the stack: `/_sim/time`."""

from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.types import ControllerRouterHandler

from core.clock import unix_time
from devstack.simulators.stripe.moving import CannotMove, Mover, shown


class To(msgspec.Struct, forbid_unknown_fields=True):
    """Unix seconds."""

    to: int


def routes(mover: Mover | None) -> list[ControllerRouterHandler]:
    @get("/_sim/time")
    async def tell() -> dict[str, Any]:
        return shown(mover) if mover else {"now": int(unix_time()), "status": "ready"}

    @post("/_sim/time", status_code=200)
    async def move(data: To) -> Response[dict[str, Any]]:
        if mover is None:
            return Response({"detail": "Only in a devstack can time be moved (make up)."}, status_code=403)
        try:
            now = await mover.move(data.to)
        except CannotMove as fault:
            due = {} if fault.due is None else {"due": fault.due}
            return Response({"detail": str(fault), "now": mover.now(), **due}, status_code=fault.status)
        return Response({"now": now, "status": "ready"})

    return [tell, move]
