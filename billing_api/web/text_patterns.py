"""Regular expressions for text that people type and others read, in the syntax that Python and JSON Schema share.

Controls of writing direction (Unicode's Bidi_Control) and invisible characters can make a name look like another one
in a list, a mail or a log. No script needs them in a name. Writing systems from right to left need no control for a
single name. The joiners that some scripts need (U+200C, U+200D) stay allowed.
"""

from typing import Final

_UNSEEN: Final = r"\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"

# `(?![\s\S])` is the end in Python and in JSON Schema alike; Python's `$` is not.
ONE_LINE: Final = rf"^(?=.*\S)[^\u0000-\u001f\u007f-\u009f\u2028\u2029{_UNSEEN}]+(?![\s\S])"
"""One line with at least one visible character."""
ONE_LINE_IN_WORDS: Final = "one line with something on it, without control characters or controls of writing direction"
LINES: Final = rf"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f{_UNSEEN}]*$"
"""Any number of lines, tabs allowed. `$` also matches before a last line break in Python; that is allowed here."""
LINES_IN_WORDS: Final = "text without control characters or controls of writing direction"
