"""Proof of the audit trail: walks its hash chain from the first link, and reports the first break.

    changed    a row, or its seal, is not what was sealed; so are two rows that changed places
    removed    a seal names a row that is not there
    missing    positions of the chain are not there
    inserted   a row has no seal and was never announced to the sealer
    truncated  an anchor, noted when the chain was longer, is not in it

A row that somebody added with the right to write to the trail is not found. It is sealed like any other row; so rows
can only be added to the present, never to the past.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from billing_api.operations.audit import repository
from billing_api.operations.audit.repository import Link
from core.crypto.audit_chain import EMPTY, AuditChain, Head, same
from db.unit_of_work import Database

_AT_ONCE: Final = 2000

ChainFault = Literal["changed", "removed", "missing", "inserted", "truncated"]
Progress = Callable[[int, int], None]


class ChainBreak(NamedTuple):
    """The first place that does not hold. `audit_id` is the row's, where it is about one."""

    fault: ChainFault
    position: int
    audit_id: int | None
    says: str


class Proof(NamedTuple):
    """`head`: the last link that holds. `waiting`: rows that are still to be sealed, the oldest for so many seconds."""

    head: Head
    waiting: int
    oldest_seconds: float
    broken: ChainBreak | None


async def prove(
    database: Database,
    chain: AuditChain,
    anchors: Sequence[Head] = (),
    progress: Progress = lambda _done, _of: None,
) -> Proof:
    async with database.as_system() as tx:
        total = await repository.count_seals(tx)
    # Link after link: each must follow from the one before it.
    head, expected = EMPTY, {anchor.position: anchor for anchor in anchors}
    while True:
        async with database.as_system() as tx:
            links = await repository.links_after(tx, head.position, _AT_ONCE)
        for link in links:
            broken = _fault(chain, head, link, expected)
            if broken is not None:
                return Proof(head, 0, 0.0, broken)
            head = Head(link.position, link.seal)
        progress(head.position, total)
        if not links:
            break
    # The links hold; is the chain as long as the anchors say, and does every row belong to it?
    async with database.as_system() as tx:
        waiting = await repository.waiting(tx)
    broken = _cut(head, anchors)
    if broken is None and waiting.unannounced:
        says = f"rows that have no seal and wait for none: {waiting.unannounced}"
        broken = ChainBreak("inserted", head.position, waiting.first_unannounced, says)
    return Proof(head, waiting.rows, waiting.oldest_seconds, broken)


def _fault(chain: AuditChain, head: Head, link: Link, anchors: dict[int, Head]) -> ChainBreak | None:
    position = head.position + 1
    if link.position != position:
        return ChainBreak("missing", position, None, f"the chain goes on at position {link.position}")
    if link.entry is None:
        return ChainBreak("removed", position, link.audit_id, f"it was sealed at {link.sealed_at.isoformat()}")
    if not chain.knows(link.kid):
        return ChainBreak(
            "changed", position, link.audit_id, f"sealed under {link.kid!r}, a key that NP_AUDIT_KEYS lacks"
        )
    proven = chain.seal(head, link.entry, link.sealed_at, kid=link.kid)
    if not same(proven.seal, link.seal):
        return ChainBreak("changed", position, link.audit_id, "the row or its seal is not what was sealed")
    anchor = anchors.get(position)
    if anchor is not None and not same(anchor.seal, link.seal):
        return ChainBreak("truncated", position, link.audit_id, f"the anchor {anchor.text} is not of this chain")
    return None


def _cut(head: Head, anchors: Sequence[Head]) -> ChainBreak | None:
    beyond = [anchor for anchor in anchors if anchor.position > head.position]
    if not beyond:
        return None
    longest = max(beyond, key=lambda anchor: anchor.position)
    return ChainBreak("truncated", head.position + 1, None, f"it reached position {longest.position} once")
