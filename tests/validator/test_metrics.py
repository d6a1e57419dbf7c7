"""Counters that a process keeps for its scrapes."""

from validator.metrics import Longest


def test_the_longest_of_a_minute_is_told_for_another_and_then_forgotten() -> None:
    longest = Longest()
    assert longest.seconds == 0.0
    longest.add(0.5, at=100.0)
    longest.add(0.1, at=159.0)
    assert longest.seconds == 0.5
    longest.add(0.2, at=165.0)
    assert longest.seconds == 0.5, "a scrape each minute must not miss it"
    longest.add(0.1, at=230.0)
    assert longest.seconds == 0.2
    longest.add(0.01, at=500.0)
    assert longest.seconds == 0.01, "nothing was noted for minutes"
