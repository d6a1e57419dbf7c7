"""A TCP server for a test, in a thread with its own event loop."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.support.callers import HOST

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_WITHIN: Final = 10.0


@contextmanager
def serving(serve: Serve, port: int = 0) -> Iterator[int]:
    """The port whose connections `serve` handles. At the end of the block all connections are closed."""
    loop = asyncio.new_event_loop()
    writers: list[asyncio.StreamWriter] = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await serve(reader, writer)

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(_WITHIN)

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = run(asyncio.start_server(serve_one, HOST, port, backlog=1024))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        run(_end(server, writers))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_WITHIN)
        loop.close()


async def stop_accepting(server: asyncio.AbstractServer) -> None:
    """Close `server`. Connections it has accepted stay, and their protocols have them."""
    # asyncio would drop the socket of a connection that is being accepted. The garbage collector's warning about it
    # would then fail a later test.
    while accepting := {task for task in _others() if "accept_connection" in repr(task.get_coro())}:
        await asyncio.wait(accepting)
    server.close()
    await asyncio.sleep(0)  # what handles a connection has begun now


async def _end(server: asyncio.Server, writers: list[asyncio.StreamWriter]) -> None:
    await stop_accepting(server)
    serving = _others()
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    for writer in writers:
        writer.transport.abort()
    # A transport closes its socket in a later iteration of the loop, so the loop must not stop before.
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


def _others() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}
