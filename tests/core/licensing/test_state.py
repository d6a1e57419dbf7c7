"""State machine of a license: every state with every event."""

import itertools

import pytest

from core.errors import IllegalMove
from core.licensing.state import MOVES, Event, Status, move

pytestmark = pytest.mark.calendar

EVERYTHING = list(itertools.product(Status, Event))


@pytest.mark.parametrize(("status", "event"), EVERYTHING, ids=str)
def test_every_pair_is_a_move_of_the_table_or_refused(status: Status, event: Event) -> None:
    if (status, event) in MOVES:
        assert move(status, event) is MOVES[status, event]
    else:
        with pytest.raises(IllegalMove, match=f"a license that is {status} cannot be {event.value}"):
            move(status, event)


@pytest.mark.parametrize("event", Event)
def test_an_event_that_happens_twice_changes_nothing_more(event: Event) -> None:
    """Jobs and events are repeated: an event that comes twice must be legal, and change nothing."""
    for status in Status:
        if (status, event) in MOVES:
            after = move(status, event)
            assert move(after, event) is after


def test_nothing_comes_back_from_cancelled() -> None:
    assert {after for (before, _), after in MOVES.items() if before is Status.CANCELLED} == {Status.CANCELLED}


def test_a_payment_brings_back_whatever_is_not_cancelled() -> None:
    assert {before for (before, event) in MOVES if event is Event.PAID} == set(Status) - {Status.CANCELLED}
    assert {after for (_, event), after in MOVES.items() if event is Event.PAID} == {Status.ACTIVE}
