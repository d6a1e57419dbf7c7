"""Settings that the portal shows to everybody: Stripe's publishable key, and who sells.

A secret key in the place of the publishable one would be published. So a key of another kind, or of another mode than
the secret key, is refused when the process starts.
"""

import re
from dataclasses import dataclass
from typing import Final

from core.environment import Reader

_PUBLISHABLE: Final = re.compile(r"pk_(test|live)_[A-Za-z0-9]+")
_MODE: Final = re.compile(r"[a-z]+_(test|live)_")
_ADDRESS: Final = re.compile(r"[^@\s<>,]+@[^@\s<>,]+")
_LONGEST_NAME: Final = 200


@dataclass(frozen=True)
class PortalSettings:
    """None of it is secret. Without `stripe_publishable_key` cards are entered on Stripe's pages alone."""

    stripe_publishable_key: str | None = None
    seller_name: str | None = None
    support_email: str | None = None


def portal_settings(reader: Reader, stripe_api_key: str) -> PortalSettings:
    return PortalSettings(
        stripe_publishable_key=_publishable_key(reader, stripe_api_key),
        seller_name=_seller_name(reader),
        support_email=_support_email(reader),
    )


def _publishable_key(reader: Reader, stripe_api_key: str) -> str | None:
    key = reader.optional("STRIPE_PUBLISHABLE_KEY")
    if key is None:
        return None
    told, secret = _PUBLISHABLE.fullmatch(key), _MODE.match(stripe_api_key)
    if told is None:
        reader.faults.append("STRIPE_PUBLISHABLE_KEY must begin with pk_test_ or pk_live_: everybody can read it")
        return None
    if secret is not None and secret[1] != told[1]:
        reader.faults.append(
            f"STRIPE_PUBLISHABLE_KEY is of {told[1]} mode and STRIPE_API_KEY of {secret[1]} mode: take both of one"
        )
    return key


def _seller_name(reader: Reader) -> str | None:
    name = reader.optional("NP_SELLER_NAME")
    if name is not None and not (name.isprintable() and len(name) <= _LONGEST_NAME):
        reader.faults.append(f"NP_SELLER_NAME must be one line of at most {_LONGEST_NAME} characters")
    return name


def _support_email(reader: Reader) -> str | None:
    address = reader.optional("NP_SUPPORT_EMAIL")
    if address is not None and not (address.isprintable() and _ADDRESS.fullmatch(address)):
        reader.faults.append("NP_SUPPORT_EMAIL must be an e-mail address without a name")
    return address
