"""Preferences of a user: a language tag (BCP 47) and a time zone (IANA).

A file of its own, because what is valid is decided elsewhere: by RFC 5646 and by the system's time zone database.
Nothing of ours is translated yet (notifications/mails/subjects.py, LOCALES). So a locale says how a page writes dates
and numbers, and mails stay in English.
"""

import re
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Meta

from core.errors import FieldError, InvalidInput
from core.field_errors import FORM, JUDGE

_TAG: Final = r"^[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?(?![\s\S])"
"""Language, then perhaps a script, then perhaps a region: as browsers tell it, without variants and extensions."""
_TAG_IN_WORDS: Final = "a language tag such as en, de-AT or zh-Hant-TW"
_ZONE: Final = re.compile(r"[A-Z][A-Za-z0-9_+\-]*(/[A-Za-z0-9_+\-]+){0,2}")
_NO_ZONES: Final = frozenset({"Factory"})
_LONGEST_ZONE: Final = 64


def canonical_locale(tag: str) -> str:
    """`zh-hant-tw` is `zh-Hant-TW` (RFC 5646, 2.1.1)."""
    language, *rest = tag.split("-")
    script_length = 4
    return "-".join([language.lower(), *(s.title() if len(s) == script_length else s.upper() for s in rest)])


def time_zone_fault(name: str) -> str | None:
    """What is wrong with the name; None where the system knows such a zone."""
    # The form first, for ZoneInfo opens a file of this name. `localtime`, `posix/…` and `right/…` do not have it.
    if _ZONE.fullmatch(name) and len(name) <= _LONGEST_ZONE and name not in _NO_ZONES:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder, such as Europe
            pass
        else:
            return None
    return "must be a time zone of the IANA database, such as Europe/Vienna or Etc/UTC"


def checked_time_zone(name: str) -> str:
    """InvalidInput where there is no such zone."""
    if told := time_zone_fault(name):
        raise InvalidInput(f"time_zone {told}", errors=(FieldError("time_zone", told),))
    return name


Locale = Annotated[
    str,
    Meta(pattern=_TAG, description="A language tag (BCP 47).", examples=["de-AT"], extra={FORM: _TAG_IN_WORDS}),
]
TimeZone = Annotated[
    str,
    Meta(
        max_length=_LONGEST_ZONE,
        description="A name of the IANA time zone database.",
        examples=["Europe/Vienna"],
        extra={JUDGE: time_zone_fault},
    ),
]
