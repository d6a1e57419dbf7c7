"""Fields that several schemas share: each with its text for the OpenAPI document, and an example.

All examples speak of one customer, Ada Byron, who owns one license, so that a reader can follow an id from one answer
to the next. The texts cost nothing at run time: they set no condition.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from msgspec import Meta

from core.field_errors import FORM

USER: Final = "019ab3f0-5d3a-7c11-8f0e-2f6d1b7a9c01"
LICENSE: Final = "019ab3f4-8e21-7d52-9a1b-6c0f4e2d7b02"
PLAN: Final = "0198d2f0-0000-7000-8000-000000000002"
SUBSCRIPTION: Final = "019ab3f4-8e25-7a93-b4c2-5d1e0f3a6c03"
INVOICE: Final = "019ab3f4-8e28-7bd4-8e5f-0a9c7b6d5e04"
PAYMENT: Final = "019ab3f4-8e2b-7ce5-93a6-1b8d0c7e4f05"
DISPUTE: Final = "019ab3f9-9b42-7c33-8e53-4a7d8c9e0f43"
REFUND: Final = "019ab3f9-7d20-7a11-9c31-2f5b6a7c8d21"
CHECKOUT: Final = "019ab3f2-11c0-7e36-a7b8-2c9e1d0f5a06"
SESSION: Final = "019ab3f0-9b4c-7f47-b8c9-3d0f2e1a6b07"
CLIENT: Final = "019ab3f8-2d5e-7a58-89da-4e1a3f2b7c08"
API_KEY: Final = "019ab3f6-3e6f-7b69-9aeb-5f2b4a3c8d09"
INSTANCE: Final = "019ab3f6-3e6b-7c7a-abfc-6a3c5b4d9e10"
STAFF: Final = "019ab100-4f70-7d8b-bc0d-7b4d6c5eaf11"
EVENT: Final = "019ab3f4-8a11-7e9c-8d1e-8c5e7d6fba12"
NOTE: Final = "019ab3f9-6c11-7d0e-8a55-1f2e3d4c5b6a"
RUN: Final = "019ab400-5a82-7fad-9e2f-9d6f8e7acb13"
JOB: Final = 48211
KEY: Final = "NP-7Q2M-XK4D-9RWT"
CLIENT_SECRET: Final = "Zb0xkq3vT9mWcY7uLr2FhD5sJ8pNeA4gKd1"  # noqa: S105  an example
SERVICE_ACCOUNT: Final = "019ab402-6b93-70be-af30-ae70908bdc14"
SERVICE_ACCOUNT_CLIENT: Final = "npsa_019ab4026b9370beaf30ae70908bdc14"
SERVICE_ACCOUNT_SECRET: Final = "npss_k3Qd8TzVb1LwYxR6mNfJ0sHc5uGePa7o"  # noqa: S105  an example
KEY_ID: Final = "npk_3f9a1c07d2b84e65"
EMAIL: Final = "ada@example.com"
REQUEST: Final = "01a2043a1cd676b1916112de232bc4f6"
BEARER_SECRET: Final = "sK9-wX2m_Qe7RtY4uI0pLz8vNc5bGf3h"  # noqa: S105  an example


def _id(text: str, example: str) -> Meta:
    return Meta(description=text, examples=[example])


# Ids: UUIDs that rise with time (UUIDv7), made by us.
UserId = Annotated[UUID, _id("The user's id.", USER)]
LicenseId = Annotated[UUID, _id("The license's id.", LICENSE)]
PlanId = Annotated[UUID, _id("The plan's id, as `GET plans` has it.", PLAN)]
SubscriptionId = Annotated[UUID, _id("The subscription's id.", SUBSCRIPTION)]
InvoiceId = Annotated[UUID, _id("The invoice's id with us; customers know its `number`.", INVOICE)]
PaymentId = Annotated[UUID, _id("The payment's id.", PAYMENT)]
CheckoutId = Annotated[UUID, _id("The purchase's id: read its state under `checkout/sessions/{session_id}`.", CHECKOUT)]
SessionId = Annotated[UUID, _id("The id of the sign-in.", SESSION)]
ClientId = Annotated[UUID, _id("The OAuth client's id; it is public.", CLIENT)]
ApiKeyId = Annotated[UUID, _id("The key's id, for routes that rotate or revoke it.", API_KEY)]
KeyId = Annotated[str, _id("The public name that signatures carry (`k=`).", KEY_ID)]
InstanceId = Annotated[UUID, _id("The panel, as its activation named it.", INSTANCE)]
RunId = Annotated[UUID, _id("The comparison's id.", RUN)]

# Instants: RFC 3339, in UTC.
CreatedAt = Annotated[datetime, Meta(description="When it was created.", examples=["2026-11-22T16:00:00Z"])]
UpdatedAt = Annotated[datetime, Meta(description="When it was last changed.", examples=["2026-11-23T09:30:00Z"])]

# Licenses.
PlanCode = Annotated[
    str,
    Meta(
        description="The plan's code, which never changes.",
        pattern=r"^[a-z0-9](-?[a-z0-9]){1,39}$",
        examples=["professional"],
        extra={FORM: "2 to 40 lower-case letters, digits and single dashes between them"},
    ),
]
PlanName = Annotated[str, Meta(description="The plan's name, for people.", examples=["Professional"])]
LicenseKey = Annotated[
    str,
    Meta(
        description="The license key. Any case, dashes, spaces and look-alike letters (O for 0, I for 1) are accepted.",
        examples=[KEY],
    ),
]
FeatureFlags = Annotated[
    dict[str, Any],
    Meta(
        description="What the plan includes beside its limits, by name; a flag that is absent is off.",
        examples=[{"support": "priority", "backups": True, "staging": True}],
    ),
]
Fingerprint = Annotated[
    str | None,
    Meta(
        description="The panel's fingerprint that the license is bound to; null where it is bound to none.",
        examples=["7f3d9c52a1e84b06"],
    ),
]
NumberUsed = Annotated[int, Meta(description="How much is in use: a number of things, or GB of storage.", examples=[7])]
LimitOrNone = Annotated[int | None, Meta(description="The most that is allowed; null is unlimited.", examples=[50])]

# Accounts.
Email = Annotated[str, Meta(description="The e-mail address, as it was typed.", examples=[EMAIL])]
EmailIsVerified = Annotated[
    bool, Meta(description="Whether the user has confirmed the address by its link.", examples=[True])
]
FullName = Annotated[str, Meta(description="The user's name.", examples=["Ada Byron"])]
CompanyName = Annotated[
    str | None, Meta(description="The company's name; null for a private person.", examples=["Analytical Engines Ltd"])
]
AccessToken = Annotated[
    str,
    Meta(
        description="Send it as `Authorization: Bearer ...`. It is a JWT; treat it as opaque.",
        examples=["eyJhbGciOiJIUzI1NiIsImtpZCI6ImoxIn0.eyJzdWIiOiIwMTlhYjNmMCJ9.c2lnbmF0dXJl"],
    ),
]
TokenType = Annotated[Literal["Bearer"], Meta(description="How the token is sent.")]
ExpiresIn = Annotated[int, Meta(description="For how many seconds the token is valid.")]
Code = Annotated[str, Meta(description="Six digits, as the authenticator app shows them now.", examples=["492039"])]
LinkToken = Annotated[
    str, Meta(description="The token in the mailed link. It works once.", examples=["Jq3vT9mWcY7uLr2FhD5sJ8pNeA4gZb0x"])
]
