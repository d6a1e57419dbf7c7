"""Activation schemas: requests and answers as JSON."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from billing_api.web.text_patterns import ONE_LINE, ONE_LINE_IN_WORDS
from core.field_errors import FORM
from core.licensing.record import Permission


class NewActivationToken(msgspec.Struct, frozen=True):
    """The token is shown only now. It works once, until `expires_at`."""

    activation_token: str
    expires_at: datetime


class Activate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`fingerprint` binds a license that is not bound yet. Absent or null: nothing is bound.

    Send it for a license that is bound, or whose policy requires one; otherwise the activation is refused.
    """

    license_key: Annotated[str, msgspec.Meta(max_length=64)]
    activation_token: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    fingerprint: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=ONE_LINE, extra={FORM: ONE_LINE_IN_WORDS})]
        | None
    ) = None


class Activated(msgspec.Struct, frozen=True, kw_only=True):
    """The panel's own API key. The secret is shown only now. `instance_id` identifies the panel from now on."""

    license_id: UUID
    instance_id: UUID
    key_id: str
    secret: str
    permissions: list[Permission]
    fingerprint: str | None
