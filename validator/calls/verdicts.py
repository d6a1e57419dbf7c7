"""Verdicts: the calls validate-license, validate-licenses and explain.

A handler returns its answer, or a coroutine where Redis must be asked; a core.errors.Refusal that it raises becomes a
problem. A single verdict from memory is asked for thousands of times a second: its text was made when the license was
last judged, and is sent again.
"""

from collections.abc import Mapping
from datetime import datetime
from sys import getsizeof
from time import monotonic
from typing import Any, Final

import msgspec

from core.clock import rfc3339, unix_time
from core.crypto.signature import body_digest
from core.errors import Busy, Unavailable
from core.hotstore.snapshot import NOTHING_USED
from core.licensing.verdict import Verdict, explain, holds_until, judge
from core.resp.waiting import Reply, Work, together
from validator.calls.gate import Caller, Gate
from validator.calls.questions import Question, Questions
from validator.calls.wire import (
    AskMany,
    Explanation,
    Rule,
    read,
)
from validator.http.answers import Letterhead, verdict_text
from validator.http.protocol import Request
from validator.metrics import Tally
from validator.store.near_cache import NEVER, CachedVerdict, KnownLicense
from validator.store.sized_cache import block, heap_bytes
from validator.store.store import Store

_ask_many: Final = msgspec.json.Decoder(AskMany)

_NO_LICENSE: Final = KnownLicense(None, NOTHING_USED, stale=False, known_until=float("inf"))
"""Callers get this, too, about a license that they may not ask about."""

_MOST_SHARED: Final = 4096
_SHARED: Final[dict[tuple[str, Verdict], CachedVerdict]] = {}
"""The first verdicts that were given, by feature and verdict: a million licenses have a few hundred between them."""
_VERDICT_BYTES: Final = block(getsizeof(CachedVerdict("", b"", 0)))


class Verdicts:
    def __init__(self, store: Store, gate: Gate, questions: Questions, letterhead: Letterhead, tally: Tally) -> None:
        self._store = store
        self._gate = gate
        self._questions = questions
        self._letterhead = letterhead
        self._tally = tally

    def validate_license(self, request: Request) -> bytes | Work[bytes] | Reply[bytes | Exception]:
        question = self._questions.known(request.body)
        digest = body_digest(request.body) if question is None else question.digest
        caller = self._gate.recognize(request, "validate", digest)
        if caller is None:
            return self._look_up_caller(request)
        if question is None:
            question = self._questions.read(request.body, digest)
        headers = self._gate.charge(caller)
        text = self._kept(question, caller)
        if text is not None:
            return self._letterhead.verdict(text, stale=False, headers=headers)
        h = question.h
        if h is None or not caller.may_ask_about(h):
            return self.answer(_NO_LICENSE, question, caller, headers)
        if self._store.backlog.is_long:
            self._tally.problems[503, Busy.code] += 1
            return self._letterhead.busy()
        awaited = _Awaited(self, question, caller, headers)
        self._store.when_known(h, awaited.told)
        return awaited

    def answer(self, known: KnownLicense, question: Question, caller: Caller, headers: bytes) -> bytes:
        text, stale = self._judged(known, question, caller)
        return self._letterhead.verdict(text, stale=stale, headers=headers)

    async def validate_licenses(self, request: Request) -> bytes:
        """All or nothing: where one verdict is not known, the call fails."""
        caller = await self._gate.admit(request, "validate")
        asked = read(_ask_many, request.body).items
        headers = self._gate.charge(caller, len(asked))
        verdicts = await together(self._verdict(self._questions.part(ask), caller) for ask in asked)
        return self._letterhead.verdicts(verdicts, headers=headers)

    async def explain(self, request: Request) -> bytes:
        caller = await self._gate.admit(request, "validate")
        question = self._questions.of(request.body)
        headers = self._gate.charge(caller)
        h = question.h
        known = await self._store.license(h) if h is not None and caller.may_ask_about(h) else _NO_LICENSE
        facts = (known.record, known.usage, question.feature, question.fingerprint, unix_time())
        verdict = judge(*facts)
        record = known.record
        explanation = Explanation(
            valid=verdict.valid,
            remaining_quota=verdict.remaining,
            code=verdict.code,
            rules=[Rule(found.rule, found.applies, _told(found.saw)) for found in explain(*facts)],
            license_id=None if record is None else str(record.license_id),
            epoch=None if record is None else record.epoch,
            version=None if record is None else record.version,
            as_of=self._letterhead.as_of,
            age_seconds=round(max(0.0, monotonic() - known.known_until), 3),
            stale=known.stale or caller.stale or self._letterhead.doubtful,
            request_id=self._letterhead.request_id(),
        )
        return self._letterhead.ok(explanation, headers=headers)

    async def _look_up_caller(self, request: Request) -> bytes:
        caller = await self._gate.admit(request, "validate")
        question = self._questions.of(request.body)
        headers = self._gate.charge(caller)
        text, stale = await self._verdict(question, caller)
        return self._letterhead.verdict(text, stale=stale, headers=headers)

    def _kept(self, question: Question, caller: Caller) -> bytes | None:
        """The cached text of this verdict, if all that it was made from is still believed."""
        h = question.h
        if h is None or question.fingerprint is not None or not caller.may_ask_about(h):
            return None
        entry = self._store.peek(h, caller.at)
        kept = None if entry is None else entry.of(question.feature, caller.now)
        if kept is None:
            return None
        self._tally.by_place[kept.place] += 1
        return kept.text

    async def _verdict(self, question: Question, caller: Caller) -> tuple[bytes, bool]:
        """The verdict's text, after counting it, and whether it is stale."""
        text = self._kept(question, caller)
        if text is not None:
            return text, caller.stale
        h = question.h
        known = await self._store.license(h) if h is not None and caller.may_ask_about(h) else _NO_LICENSE
        return self._judged(known, question, caller)

    def _judged(self, known: KnownLicense, question: Question, caller: Caller) -> tuple[bytes, bool]:
        given = known.given if question.fingerprint is None else None
        kept = None if given is None else given.of(question.feature, caller.now)
        if kept is None:
            kept = _judge(known, question, caller.now)
            if given is not None and question.h is not None:
                until = NEVER if known.record is None else holds_until(known.record, caller.now)
                self._store.keep(question.h, given, kept, until)
        self._tally.by_place[kept.place] += 1
        return kept.text, known.stale or caller.stale


class _Awaited(Reply[bytes | Exception]):
    """An answer that waits for its license. A coroutine would cost twice as much."""

    __slots__ = ("_caller", "_headers", "_question", "_verdicts")

    def __init__(self, verdicts: Verdicts, question: Question, caller: Caller, headers: bytes) -> None:
        super().__init__()
        self._verdicts = verdicts
        self._question = question
        self._caller = caller
        self._headers = headers

    def told(self, known: KnownLicense | Unavailable) -> None:
        if isinstance(known, Unavailable):
            self.resolve(known)
            return
        try:
            answer = self._verdicts.answer(known, self._question, self._caller, self._headers)
        except Exception as fault:  # noqa: BLE001  # every exception of a handler is answered
            self.resolve(fault)
        else:
            self.resolve(answer)


def _told(saw: Mapping[str, Any]) -> dict[str, Any]:
    """Instants as in the rest of the answer, and not in unix seconds, which nobody can read."""
    return {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in saw.items()}


def _judge(known: KnownLicense, question: Question, now: float) -> CachedVerdict:
    verdict = judge(known.record, known.usage, question.feature, question.fingerprint, now)
    shared = _SHARED.get((question.feature, verdict))
    if shared is not None:
        return shared
    text = verdict_text(verdict)
    if len(_SHARED) < _MOST_SHARED:
        made = CachedVerdict(question.feature, text, Tally.PLACES[verdict.code])
        return _SHARED.setdefault((question.feature, verdict), made)
    own = _VERDICT_BYTES + heap_bytes(question.feature) + heap_bytes(text)
    return CachedVerdict(question.feature, text, Tally.PLACES[verdict.code], own)
