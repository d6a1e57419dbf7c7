"""Activation schemas: requests and answers as JSON."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from billing_api.web import fields
from billing_api.web.fields import Fingerprint, InstanceId, KeyId, LicenseId, LicenseKey
from billing_api.web.text_patterns import ONE_LINE, ONE_LINE_IN_WORDS
from core.field_errors import FORM
from core.licensing.record import Permission


class NewActivationToken(msgspec.Struct, frozen=True):
    """A token for one panel. It is shown only now."""

    activation_token: Annotated[
        str,
        Meta(
            description="Give it to the panel with the license key. It works once.",
            examples=["npa_mW7cY2uLr5FhD8sJ1pNe"],
        ),
    ]
    expires_at: Annotated[datetime, Meta(description="Until when it works.", examples=["2026-11-23T16:00:00Z"])]


class Activate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a panel sends to get an API key of its own."""

    license_key: Annotated[LicenseKey, Meta(max_length=64)]
    activation_token: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=200,
            description="The token that the license's owner made for this panel.",
            examples=["npa_mW7cY2uLr5FhD8sJ1pNe"],
        ),
    ]
    fingerprint: (
        Annotated[
            str,
            msgspec.Meta(
                min_length=1,
                max_length=256,
                pattern=ONE_LINE,
                description=(
                    "Binds a license that is not bound yet. Absent or null: nothing is bound. Send it for a "
                    "license that is bound, or whose policy requires one; otherwise the activation is refused."
                ),
                examples=["7f3d9c52a1e84b06"],
                extra={FORM: ONE_LINE_IN_WORDS},
            ),
        ]
        | None
    ) = None


class Activated(msgspec.Struct, frozen=True, kw_only=True):
    """The panel's own API key. The secret is shown only now."""

    license_id: LicenseId
    instance_id: InstanceId
    key_id: KeyId
    secret: Annotated[
        str,
        Meta(
            description="Signs the panel's calls (HMAC-SHA256). Keep it as a secret.", examples=[fields.BEARER_SECRET]
        ),
    ]
    permissions: Annotated[
        list[Permission], Meta(description="What the key may do.", examples=[["validate", "reserve", "usage", "lease"]])
    ]
    fingerprint: Fingerprint
