"""Recognition of a searched text: its form says where to look for it, and only that is asked.

    cus_…, sub_…, in_…, pi_…          an id of Stripe's, whole
    0198d2f0-0000-7000-8000-…         an id of ours
    …7Q4K                             the end of a license key (its key hint)
    7Q4K                              that, or a part of a name
    8F2B91D0-0001, 8F2B               an invoice number or its beginning, or a part of a name
    anything else                     a part of a mail address, of a person's or of a company's name

A part of a name needs three letters or digits in a row: the database finds it by them (trigrams). Less would read every
user there is.
"""

import re
import unicodedata
from typing import Final, NamedTuple
from uuid import UUID

from core.errors import FieldError, InvalidInput
from core.licensing.key import read_hint
from core.mailbox import folded_part, mailbox_key

_STRIPE_ID: Final = re.compile(r"(cus|sub|in|pi)_[A-Za-z0-9]{8,64}")
_OWN_ID: Final = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_ELLIPSIS: Final = re.compile(r"(?:\u2026|\.{2,3}|\*+|-)")
_INVOICE_NUMBER: Final = re.compile(r"(?=[^0-9]*[0-9])[A-Z0-9]{3,24}(?:-[A-Z0-9]{0,24})?", re.IGNORECASE)
_THREE_IN_A_ROW: Final = re.compile(r"[^\W_]{3}")
_TOO_LITTLE: Final = (
    "is too short: type three letters or digits in a row, the last four symbols of a license key, or a whole id"
)


class Asked(NamedTuple):
    """Each is None where the text cannot be that. `address`: the canonical form of a whole mail address."""

    part: str | None = None
    address: str | None = None
    key_hint: str | None = None
    invoice_number: str | None = None
    customer_id: str | None = None
    subscription_id: str | None = None
    invoice_id: str | None = None
    payment_intent_id: str | None = None
    own_id: UUID | None = None


def recognize(text: str) -> Asked:
    """InvalidInput where the text is too short to be looked for."""
    plain = unicodedata.normalize("NFKC", text).strip()
    if stripe_id := _STRIPE_ID.fullmatch(plain):
        return _by_stripe_id(stripe_id[1], plain)
    if _OWN_ID.fullmatch(plain):
        return Asked(own_id=UUID(plain))
    # NFKC has made three dots of an ellipsis.
    if (shortened := _ELLIPSIS.match(plain)) and (hint := read_hint(plain[shortened.end() :])):
        return Asked(key_hint=hint)
    asked = Asked(
        part=folded_part(plain) if _THREE_IN_A_ROW.search(plain) else None,
        address=mailbox_key(plain) if "@" in plain else None,
        key_hint=read_hint(plain),
        invoice_number=plain.upper() if _INVOICE_NUMBER.fullmatch(plain) else None,
    )
    if asked == Asked():
        raise InvalidInput(f"q {_TOO_LITTLE}", errors=(FieldError("q", _TOO_LITTLE, "too_short", {"min": 3}),))
    return asked


def _by_stripe_id(prefix: str, stripe_id: str) -> Asked:
    match prefix:
        case "cus":
            return Asked(customer_id=stripe_id)
        case "sub":
            return Asked(subscription_id=stripe_id)
        case "in":
            return Asked(invoice_id=stripe_id)
        case _:
            return Asked(payment_intent_id=stripe_id)
