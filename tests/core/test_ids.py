"""Identifiers: UUIDv7, sorted by creation, unique."""

from core.clock import unix_time
from core.ids import new_id, new_token


def test_ids_are_version_7_of_the_present_millisecond() -> None:
    before = int(unix_time() * 1000)
    made = new_id()
    after = int(unix_time() * 1000)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert before <= made.int >> 80 <= after


def test_many_ids_differ_and_follow_the_clock() -> None:
    made = [new_id() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    stamps = [one.int >> 80 for one in made]
    assert stamps == sorted(stamps)


def test_of_an_id_all_but_its_time_version_and_variant_is_random() -> None:
    seen = [0] * 128
    for one in (new_id() for _ in range(1000)):
        for place in range(128):
            seen[place] += one.int >> place & 1
    moving = [place for place, ones in enumerate(seen) if 0 < ones < 1000 and place < 80]
    assert moving == [*range(62), *range(64, 76)]


def test_tokens_are_safe_in_a_url_and_differ() -> None:
    tokens = {new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(len(token) == 43 and token.replace("-", "").replace("_", "").isalnum() for token in tokens)
