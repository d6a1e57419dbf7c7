"""E-mail address validation: strict enough to catch typing errors and to keep mail headers safe.

Only a mail can show whether an address exists. So these rules are much simpler than the grammar of RFC 5321: one `@`, a
dot in the domain, and no character that has a meaning in a header or in a list of recipients.
"""

import re
from typing import Final

LONGEST: Final = 254
_LONGEST_LOCAL_PART: Final = 64
_READ_OTHERWISE_IN_A_HEADER: Final = frozenset(' "(),:;<>[\\]')

_UNSEEN: Final = re.compile("[\U000e0100-\U000e01ef]")
"""Variation selectors: printable for Python, but invisible, so that two accounts would look alike. core/mailbox.py
removes those that mail programs really insert."""


def fault(address: str) -> str | None:
    """What is wrong with the address, as a text for its owner; None where it is accepted."""
    if len(address) > LONGEST:
        return f"the e-mail address is too long: use at most {LONGEST} characters"
    if not address.isprintable() or _UNSEEN.search(address) or not _READ_OTHERWISE_IN_A_HEADER.isdisjoint(address):
        return "remove spaces, control characters, quotes, brackets, commas and colons from the e-mail address"
    local_part, at, domain_name = address.partition("@")
    if not at or "@" in domain_name or not 0 < len(local_part) <= _LONGEST_LOCAL_PART:
        return "write the e-mail address like name@example.com"
    if "." not in domain_name or not all(domain_name.split(".")):
        return "write a full domain name after the @, such as example.com"
    return None
