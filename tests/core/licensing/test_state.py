"""State machine of a license: every state and every set of open causes with every event."""

import itertools

import pytest

from core.errors import IllegalMove
from core.licensing.state import CLOSES, IN_FORCE, MOVES, NO_CAUSES, OPENS, Cause, Event, Standing, Status, move

pytestmark = pytest.mark.calendar

SETS = [frozenset(some) for size in range(len(Cause) + 1) for some in itertools.combinations(Cause, size)]
STANDINGS = [Standing(Status.SUSPENDED if causes else Status.ACTIVE, causes) for causes in SETS]
STANDINGS += [Standing(Status.EXPIRED), Standing(Status.CANCELLED)]
EVERYTHING = list(itertools.product(STANDINGS, Event))
LEGAL = [(standing, event) for standing, event in EVERYTHING if (standing.status, event) in MOVES]


def _name(value: object) -> str:
    return "+".join([value.status, *sorted(value.causes)]) if isinstance(value, Standing) else str(value)


@pytest.mark.parametrize(("standing", "event"), EVERYTHING, ids=_name)
def test_every_pair_is_a_move_of_the_table_or_refused(standing: Standing, event: Event) -> None:
    if (standing.status, event) not in MOVES:
        with pytest.raises(IllegalMove, match=f"a license that is {standing.status} cannot be {event.value}"):
            move(standing, event)
        return
    after, of_table = move(standing, event), MOVES[standing.status, event]
    # An end is as the table has it, and leaves no cause open.
    if of_table not in IN_FORCE:
        assert after == Standing(of_table)
        return
    # In force: exactly the causes that the event opens and closes have changed, and they alone decide.
    opened = {OPENS[event]} if event in OPENS else NO_CAUSES
    assert after.causes == (standing.causes - CLOSES.get(event, NO_CAUSES)) | opened
    assert after.status is (Status.SUSPENDED if after.causes else Status.ACTIVE)


@pytest.mark.parametrize(("standing", "event"), LEGAL, ids=_name)
def test_a_suspended_license_is_one_with_an_open_cause(standing: Standing, event: Event) -> None:
    after = move(standing, event)
    assert (after.status is Status.SUSPENDED) == bool(after.causes)


@pytest.mark.parametrize(("standing", "event"), LEGAL, ids=_name)
def test_an_event_that_happens_twice_changes_nothing_more(standing: Standing, event: Event) -> None:
    """Jobs and events are repeated. A purchase is the one event that cannot: it needs a license that has ended."""
    after = move(standing, event)
    if event is Event.BOUGHT_AGAIN:
        with pytest.raises(IllegalMove):
            move(after, event)
    else:
        assert move(after, event) == after


@pytest.mark.parametrize(("standing", "event"), LEGAL, ids=_name)
def test_the_table_says_suspended_exactly_where_no_closing_event_is(standing: Standing, event: Event) -> None:
    """So that the table reads true by itself: with one cause alone it is what `move` answers."""
    closed = CLOSES.get(event, NO_CAUSES)
    if len(standing.causes - closed) == 0 or event in OPENS or standing.status is not Status.SUSPENDED:
        assert move(standing, event).status is MOVES[standing.status, event]


def test_only_a_purchase_that_names_it_brings_a_cancelled_license_back() -> None:
    leaving = {event for (before, event), after in MOVES.items() if before is Status.CANCELLED and after is not before}
    assert leaving == {Event.BOUGHT_AGAIN}
    assert {before for (before, event) in MOVES if event is Event.BOUGHT_AGAIN} == {Status.CANCELLED, Status.EXPIRED}


def test_a_payment_is_refused_by_a_cancelled_license_alone() -> None:
    assert {before for (before, event) in MOVES if event is Event.PAID} == set(Status) - {Status.CANCELLED}


@pytest.mark.parametrize("causes", SETS, ids=lambda causes: "+".join(sorted(causes)) or "none")
def test_each_cause_is_closed_by_its_own_event_and_all_by_staff(causes: frozenset[Cause]) -> None:
    standing = Standing(Status.SUSPENDED if causes else Status.ACTIVE, causes)
    assert move(standing, Event.PAID).causes == causes - {Cause.UNPAID}
    assert move(standing, Event.DISPUTE_WON).causes == causes - {Cause.DISPUTED}
    assert move(standing, Event.REFUND_UNDONE).causes == causes - {Cause.REFUNDED}
    assert move(standing, Event.RESUMED_BY_ADMIN) == Standing(Status.ACTIVE)
    assert move(standing, Event.CANCELLED) == Standing(Status.CANCELLED)
