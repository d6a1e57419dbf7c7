"""A mail relay that keeps what it is given: an outbox for tests, and a page where a person reads and clicks.

    python -m devstack.simulators.mail --port 9025 --data DIR

`POST /messages` takes a message under a key. The relay that a real deployment uses must do the same: a worker that is
not sure whether a mail left sends it again under its key, and the person gets one.
"""

from typing import Any, Final

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.exceptions import HTTPException
from litestar.types import ControllerRouterHandler

from core.clock import rfc3339, utc_now
from devstack.simulators import mailbox_page, problems
from devstack.simulators.asgi import Application
from devstack.simulators.journal import Collection, Journal
from devstack.simulators.problems import Problem
from devstack.simulators.serving import arguments, serve
from devstack.simulators.stand_in import stand_in

SHOWN_ON_PAGE: Final = 200


class Message(msgspec.Struct, forbid_unknown_fields=True):
    to: str
    subject: str
    key: str
    text: str = ""
    html: str = ""


class Delivered(msgspec.Struct):
    to: str
    subject: str
    text: str
    html: str
    at: str
    key: str
    attempts: int = 1
    """How often this key was sent. One message is kept: the first."""


def application(journal: Journal) -> Application:
    return stand_in(
        _routes(journal.collection("messages", Delivered)),
        default_error=problems.default_problem,
        handlers={Problem: problems.of_problem, HTTPException: problems.of_http_exception},
    )


def deliver(box: Collection[Delivered], message: Message) -> None:
    kept = box.get(message.key)
    if kept:
        kept.attempts += 1
    else:
        kept = Delivered(message.to, message.subject, message.text, message.html, rfc3339(utc_now()), message.key)
    box.put(message.key, kept)


def _routes(box: Collection[Delivered]) -> list[ControllerRouterHandler]:
    @post("/messages", status_code=202)
    async def accept(request: Request[Any, Any, Any]) -> dict[str, str]:
        message: Message = problems.decode(await request.body(), Message)
        deliver(box, message)
        return {"key": message.key}

    @get("/_sim/messages")
    async def messages(to: str | None = None) -> dict[str, list[Delivered]]:
        """Oldest first; `to` compares as mail systems do, without case."""
        everything = box.all()
        return {"items": [one for one in everything if to is None or one.to.lower() == to.lower()]}

    @delete("/_sim/messages")
    async def clear() -> None:
        box.clear()

    @get("/", media_type="text/html")
    async def page() -> Response[str]:
        newest = box.newest(limit=SHOWN_ON_PAGE)
        return Response(mailbox_page.render(newest), media_type="text/html")

    return [accept, messages, clear, page]


def main() -> None:
    chosen = arguments("devstack.simulators.mail", "A mail relay that keeps what it is given.", port=9025).parse_args()
    serve(application(Journal(chosen.data / "mail.sqlite3")), chosen.port)


if __name__ == "__main__":
    main()
