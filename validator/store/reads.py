"""Reads of licenses: all that one turn of the loop asks of one server leave as one function call.

A command costs this process more than a license in it, and so does an answer: packing, a place in the queue, parsing.
In a Cluster a command belongs to one bucket, so there only licenses of one bucket share it.

With the near cache on, callers that ask while a license is being read wait for the same answer. Without it each is read
anew, so that no caller gets an answer to an earlier question.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

import structlog

from core.errors import Unavailable
from core.hotstore.snapshot import read_many_command
from core.resp.connection import Answer, pack
from core.resp.waiting import Reply
from validator.redis.eras import Era
from validator.redis.link import RedisLink
from validator.store.backlog import FULL, Backlog
from validator.store.near_cache import KnownLicense

Told = KnownLicense | Unavailable
Tell = Callable[[Told], None]
Conclude = Callable[[str, Answer, Answer], Told]

log = structlog.get_logger()


class LicenseReads:
    def __init__(self, by_tag: Mapping[str, Era], conclude: Conclude, *, shared: bool) -> None:
        """`conclude(h, mark, snapshot)` from what `read_many` answers; what is no answer is given in place of both.

        `shared`: later callers wait for a read that is under way.
        """
        self._by_tag = by_tag
        self._conclude = conclude
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[str, list[Tell]] = {}
        self._collected: dict[RedisLink | str, list[tuple[str, list[Tell]]]] = {}
        """What leaves at the end of this turn, by server, or by bucket where a Cluster wants it."""
        self.backlog = Backlog()
        self.number = 0
        """How many licenses were read."""

    def ask(self, h: str, tell: Tell) -> None:
        """Calls `tell` with what is known of the license, once Redis has answered."""
        if self._shared:
            waiting = self._under_way.get(h)
            if waiting is not None:
                waiting.append(tell)
                return
            self._under_way[h] = tells = [tell]
        else:
            tells = [tell]
        self.number += 1
        self.backlog.asked()
        link = self._by_tag[h[:2]].link
        place = h[:2] if link.in_cluster else link
        collected = self._collected.get(place)
        if collected is None:
            self._collected[place] = [(h, tells)]
            self._loop.call_soon(self._send, place)
            return
        collected.append((h, tells))
        if len(collected) == FULL:
            self._send(place)  # a turn of a busy loop is long: let the server begin

    def _send(self, place: RedisLink | str) -> None:
        asked = self._collected.pop(place, None)
        if asked is None:
            return  # it became full, and has left
        link = self._by_tag[place].link if isinstance(place, str) else place
        command = read_many_command([h for h, _ in asked], in_cluster=link.in_cluster)
        answer = link.call(pack(*command))
        link.flush()
        answer.when_done(partial(self._have_read, asked, answer))

    def _have_read(self, asked: list[tuple[str, list[Tell]]], answer: Reply[Answer]) -> None:
        self.backlog.answered(len(asked))
        told = answer.value
        if not isinstance(told, list):
            told = [told] * (2 * len(asked))
        parts = iter(told)
        for (h, tells), mark, snapshot in zip(asked, parts, parts, strict=True):
            if self._shared:
                del self._under_way[h]
            known = self._conclude(h, mark, snapshot)
            for tell in tells:
                try:
                    tell(known)
                except Exception:  # the others must be told all the same
                    log.exception("waiter.failed")
