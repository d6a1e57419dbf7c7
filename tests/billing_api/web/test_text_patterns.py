"""Text patterns: what users may type for others to read."""

import re
import unicodedata

import pytest

from billing_api.web.text_patterns import LINES, ONE_LINE

CONTROLS = ["\u061c", "\u200e", "\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))]


@pytest.mark.parametrize("pattern", [ONE_LINE, LINES])
@pytest.mark.parametrize("control", CONTROLS, ids=unicodedata.name)
def test_no_text_turns_the_writing_direction(pattern: str, control: str) -> None:
    assert re.search(pattern, "Ada Buyer")
    for text in (f"Ada{control}", f"{control}Ada", f"A{control}da", control):
        assert not re.search(pattern, text)


@pytest.mark.parametrize("text", ["עדה", "أدا", "می\u200cخواهم", "क्\u200dष", "Zoë 王", "👩\u200d💻 Ltd"])
def test_every_script_has_its_names(text: str) -> None:
    assert re.search(ONE_LINE, text)
    assert re.search(LINES, text)


def test_one_line_is_one_and_a_reason_may_have_more() -> None:
    assert not re.search(ONE_LINE, "a\nb")
    assert not re.search(ONE_LINE, "a\n")
    assert re.search(LINES, "a\n\tb\r\n")
    assert not re.search(LINES, "a\x00b")
