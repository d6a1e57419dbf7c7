"""The test cards: what each number does when it is attached, charged, or asked for its owner's confirmation.

Numbers and outcomes are those that Stripe publishes for test mode, so that a scenario written against Stripe holds
here. Any other number is refused before it is kept anywhere: nobody's real card ends in a journal of ours.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from devstack.simulators.stripe.errors import Refused

RefundOutcome = Literal["at_once", "later", "fails_later"]
Confirmation = Literal["never", "unless_set_up", "always", "on_session"]


@dataclass(frozen=True)
class Decline:
    """Why an issuer refuses: the error's code, the decline code, the words, and its advice about a retry."""

    code: str
    decline_code: str
    message: str
    advice: Literal["try_again_later", "do_not_try_again", "confirm_card_data"] = "try_again_later"


@dataclass(frozen=True)
class Card:
    number: str
    brand: str = "visa"
    funding: str = "credit"
    attach: Decline | None = None
    charge: Decline | None = None
    confirmation: Confirmation = "never"
    """When the owner has to confirm: never; on and off session until set up; always; only while present."""
    disputed: tuple[str, Literal["chargeback", "inquiry"]] | None = None
    """The bank's reason, where it disputes each charge as soon as it was taken."""
    refund: RefundOutcome = "at_once"

    def needs_owner(self, *, off_session: bool, set_up: bool) -> bool:
        return {
            "never": False,
            "unless_set_up": not (off_session and set_up),
            "always": True,
            "on_session": not off_session,
        }[self.confirmation]


_DECLINED: Final = "Your card was declined."
GENERIC: Final = Decline("card_declined", "generic_decline", _DECLINED)
INSUFFICIENT: Final = Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.")
LOST: Final = Decline("card_declined", "lost_card", _DECLINED, "do_not_try_again")
STOLEN: Final = Decline("card_declined", "stolen_card", _DECLINED, "do_not_try_again")
EXPIRED: Final = Decline("expired_card", "expired_card", "Your card has expired.", "do_not_try_again")
WRONG_CVC: Final = Decline(
    "incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.", "confirm_card_data"
)
PROCESSING: Final = Decline(
    "processing_error", "processing_error", "An error occurred while processing your card. Try again in a little bit."
)
VELOCITY: Final = Decline(
    "card_declined",
    "card_velocity_exceeded",
    "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
)
AUTHENTICATION: Final = Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)


def _refusing(number: str, decline: Decline) -> Card:
    return Card(number, attach=decline, charge=decline)


CARDS: Final[Mapping[str, Card]] = {
    card.number: card
    for card in (
        Card("4242424242424242"),
        Card("4000056655665556", funding="debit"),
        Card("5555555555554444", brand="mastercard"),
        Card("5105105105105100", brand="mastercard", funding="prepaid"),
        Card("378282246310005", brand="amex"),
        Card("6011111111111117", brand="discover"),
        _refusing("4000000000000002", GENERIC),
        _refusing("4000000000009995", INSUFFICIENT),
        _refusing("4000000000009987", LOST),
        _refusing("4000000000009979", STOLEN),
        _refusing("4000000000000069", EXPIRED),
        _refusing("4000000000000127", WRONG_CVC),
        _refusing("4000000000000119", PROCESSING),
        _refusing("4000000000006975", VELOCITY),
        Card("4000000000000341", charge=GENERIC),
        Card("4000002500003155", confirmation="unless_set_up"),
        Card("4000002760003184", confirmation="always"),
        Card("4000000000003220", confirmation="always"),
        Card("4000003800000446", confirmation="on_session"),
        Card("4000008400001629", confirmation="always", charge=GENERIC),
        Card("4000000000000259", disputed=("fraudulent", "chargeback")),
        Card("4000000000002685", disputed=("product_not_received", "chargeback")),
        Card("4000000000001976", disputed=("fraudulent", "inquiry")),
        Card("4000000000007726", refund="later"),
        Card("4000000000005126", refund="fails_later"),
        Card("4000008260003178", confirmation="unless_set_up", charge=INSUFFICIENT),
    )
}

TOKENS: Final[Mapping[str, str]] = {
    "visa": "4242424242424242",
    "visa_debit": "4000056655665556",
    "mastercard": "5555555555554444",
    "mastercard_prepaid": "5105105105105100",
    "amex": "378282246310005",
    "discover": "6011111111111117",
    "chargeDeclined": "4000000000000002",
    "visa_chargeDeclined": "4000000000000002",
    "chargeDeclinedInsufficientFunds": "4000000000009995",
    "visa_chargeDeclinedInsufficientFunds": "4000000000009995",
    "chargeDeclinedLostCard": "4000000000009987",
    "visa_chargeDeclinedLostCard": "4000000000009987",
    "chargeDeclinedStolenCard": "4000000000009979",
    "visa_chargeDeclinedStolenCard": "4000000000009979",
    "chargeDeclinedExpiredCard": "4000000000000069",
    "chargeDeclinedIncorrectCvc": "4000000000000127",
    "chargeDeclinedProcessingError": "4000000000000119",
    "visa_chargeDeclinedVelocityLimitExceeded": "4000000000006975",
    "createDispute": "4000000000000259",
    "createDisputeProductNotReceived": "4000000000002685",
    "createDisputeInquiry": "4000000000001976",
    "pendingRefund": "4000000000007726",
    "refundFail": "4000000000005126",
    "chargeCustomerFail": "4000000000000341",
    "authenticationRequired": "4000002500003155",
    "authenticationRequiredOnSetup": "4000002500003155",
    "authenticationRequiredSetupForOffSession": "4000003800000446",
    "authenticationRequiredChargeDeclinedInsufficientFunds": "4000008260003178",
    "threeDSecure2Required": "4000000000003220",
    "threeDSecureRequired": "4000002760003184",
    "threeDSecureRequiredChargeDeclined": "4000008400001629",
}
"""What follows `pm_card_` and `tok_` in Stripe's ready-made payment methods and tokens."""


@dataclass(frozen=True)
class CardForm:
    """A card as a person types it, checked as the issuer's network would before anybody is asked."""

    number: str
    month: int
    year: int
    cvc: str | None

    @classmethod
    def typed(cls, number: str, expiry: str, cvc: str, today: datetime) -> "CardForm":
        """From the form of the hosted page; `expiry` is `MM/YY`."""
        found = re.fullmatch(r"\s*(\d{1,2})\s*/\s*(?:20)?(\d{2})\s*", expiry)
        if found is None:
            raise card_refused("invalid_expiry_month", "Your card's expiration date is incomplete.")
        return cls.checked(number, int(found[1]), 2000 + int(found[2]), cvc, today)

    @classmethod
    def checked(cls, number: str, month: int, year: int, cvc: str | None, today: datetime) -> "CardForm":
        digits = re.sub(r"[\s-]", "", number)
        if not digits.isdecimal() or not _luhn(digits):
            raise card_refused("incorrect_number", "Your card number is incorrect.")
        if digits not in CARDS:
            message = "Your card was declined. Your request was in test mode, but used a non test card."
            raise card_refused("card_declined", message, decline_code="test_mode_live_card")
        if not 1 <= month <= 12:
            raise card_refused("invalid_expiry_month", "Your card's expiration month is invalid.")
        if (year, month) < (today.year, today.month):
            raise card_refused("invalid_expiry_year", "Your card's expiration year is in the past.")
        if cvc is not None and not re.fullmatch(r"\d{3,4}", cvc.strip()):
            raise card_refused("invalid_cvc", "Your card's security code is invalid.")
        return cls(digits, month, year, cvc)


def card_refused(code: str, message: str, **members: Any) -> Refused:
    return Refused(402, message, type="card_error", code=code, **members)


def _luhn(digits: str) -> bool:
    doubled = [int(digit) * 2 if position % 2 else int(digit) for position, digit in enumerate(reversed(digits))]
    return len(digits) >= 12 and sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0
