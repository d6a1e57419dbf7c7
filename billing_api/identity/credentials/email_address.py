"""Syntax check of e-mail addresses: enough to catch typing errors and to keep mail headers whole.

Whether an address exists only a mail can tell, so this is far from RFC 5321's grammar on purpose: one `@`, a dot in
the domain, nothing that a header or a list of recipients would read as something else.
"""

import re
from typing import Final

LONGEST: Final = 254
_LONGEST_LOCAL_PART: Final = 64
_READ_OTHERWISE_IN_A_HEADER: Final = frozenset(' "(),:;<>[\\]')

_UNSEEN: Final = re.compile("[\U000e0100-\U000e01ef]")
"""Variation selectors that count as printable and that nobody sees: two accounts would look like one mailbox's. Those
that mails do bring along, core/mailbox.py leaves out."""


def fault(address: str) -> str | None:
    """What is wrong with it, for its owner to read; None where nothing is."""
    if len(address) > LONGEST:
        return f"an e-mail address has at most {LONGEST} characters"
    if not address.isprintable() or _UNSEEN.search(address) or not _READ_OTHERWISE_IN_A_HEADER.isdisjoint(address):
        return "an e-mail address has no spaces, control characters, quotes, brackets, commas or colons"
    local_part, at, domain_name = address.partition("@")
    if not at or "@" in domain_name or not 0 < len(local_part) <= _LONGEST_LOCAL_PART:
        return "an e-mail address reads name@example.com"
    if "." not in domain_name or not all(domain_name.split(".")):
        return "the part after the @ must be a full domain name, such as example.com"
    return None
