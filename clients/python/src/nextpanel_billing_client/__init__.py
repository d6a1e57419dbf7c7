"""Client of NextPanel billing: `BillingClient` asks and reports; the rest are its answers and its exceptions."""

from nextpanel_billing_client.answers import (
    Activation,
    BillingError,
    Declined,
    Hold,
    NotActivated,
    Question,
    Refused,
    RefusedReport,
    StoreUnusable,
    Unreachable,
    Verdict,
)
from nextpanel_billing_client.client import Action, BillingClient, Resource

__all__ = [
    "Action",
    "Activation",
    "BillingClient",
    "BillingError",
    "Declined",
    "Hold",
    "NotActivated",
    "Question",
    "Refused",
    "RefusedReport",
    "Resource",
    "StoreUnusable",
    "Unreachable",
    "Verdict",
]
