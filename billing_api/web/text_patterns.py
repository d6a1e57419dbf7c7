"""Patterns of text that people type and others read, in the spelling that Python and JSON Schema share.

Controls of writing direction (Unicode's Bidi_Control) make a name read as another one in a list, a mail or a log, and
so do characters that nobody sees. Neither is part of a name in any script: writing systems from right to left need no
control for a single name, and the joiners that some need (U+200C, U+200D) stay allowed.
"""

from typing import Final

_UNSEEN: Final = r"\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"

# `(?![\s\S])` is the end in Python and in JSON Schema alike; Python's `$` is not.
ONE_LINE: Final = rf"^(?=.*\S)[^\u0000-\u001f\u007f-\u009f\u2028\u2029{_UNSEEN}]+(?![\s\S])"
"""With something on it."""
ONE_LINE_IN_WORDS: Final = "one line with something on it, without control characters or controls of writing direction"
LINES: Final = rf"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f{_UNSEEN}]*$"
"""Any number of them, with tabs. `$` will do, for the line break before which Python's matches may stand here."""
LINES_IN_WORDS: Final = "text without control characters or controls of writing direction"
