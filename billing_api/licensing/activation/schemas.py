"""Activations on the wire."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from billing_api.web.text_patterns import ONE_LINE, ONE_LINE_IN_WORDS
from core.field_errors import FORM
from core.licensing.record import Permission


class NewActivationToken(msgspec.Struct, frozen=True):
    """The token is shown this once; it works once, until `expires_at`."""

    activation_token: str
    expires_at: datetime


class Activate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`fingerprint` binds a license that is bound to none. Absent or null, it binds nothing.

    A license that is bound, or whose policy requires a fingerprint, is not activated without one.
    """

    license_key: Annotated[str, msgspec.Meta(max_length=64)]
    activation_token: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    fingerprint: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=ONE_LINE, extra={FORM: ONE_LINE_IN_WORDS})]
        | None
    ) = None


class Activated(msgspec.Struct, frozen=True, kw_only=True):
    """The panel's own key; the secret is shown this once. `instance_id` is who the panel is from now on."""

    license_id: UUID
    instance_id: UUID
    key_id: str
    secret: str
    permissions: list[Permission]
    fingerprint: str | None
