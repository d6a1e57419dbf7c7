"""API key schemas: requests and answers as JSON."""

from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec

from billing_api.access.networks import Networks
from billing_api.web.text_patterns import ONE_LINE, ONE_LINE_IN_WORDS
from core.field_errors import FORM
from core.licensing.record import PERMISSIONS, Permission
from db.models.licensing import ApiKey

DAY: Final = 24 * 3600
LONGEST_OVERLAP: Final = 7 * DAY
"""Seconds."""


class ApiKeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret.

    `instance_id`: the panel whose activation created it. `previous_until`: until then the previous secret works, too.
    `last_used_at`: when it last signed a usage report, to the minute; validations do not count.
    """

    id: UUID
    key_id: str
    license_id: UUID
    name: str
    permissions: list[Permission]
    instance_id: UUID | None
    is_active: bool
    expires_at: datetime | None
    previous_until: datetime | None
    last_used_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, key: ApiKey, now: datetime) -> "ApiKeyView":
        assert key.license_id is not None
        return cls(
            id=key.id,
            key_id=key.key_id,
            license_id=key.license_id,
            name=key.name,
            permissions=sorted(PERMISSIONS.intersection(key.permissions)),
            instance_id=key.instance_id,
            is_active=key.is_active,
            expires_at=key.expires_at,
            previous_until=overlap_end(key, now),
            last_used_at=key.last_used_at,
            created_at=key.created_at.astimezone(UTC),
        )


KeyName = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=ONE_LINE, extra={FORM: ONE_LINE_IN_WORDS})]
KeyPermissions = Annotated[list[Permission], msgspec.Meta(min_length=1, max_length=len(PERMISSIONS))]


class NewApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`expires_at` absent or null: valid until it is revoked."""

    name: KeyName
    permissions: KeyPermissions
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class NewPlatformKey(NewApiKey, frozen=True, forbid_unknown_fields=True):
    """`networks` absent or empty: it may be used from anywhere."""

    networks: Networks = []


class ChangePlatformKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is absent stays as it is. Secrets and the end do not change here: rotate or revoke the key."""

    name: KeyName | msgspec.UnsetType = msgspec.UNSET
    permissions: KeyPermissions | msgspec.UnsetType = msgspec.UNSET
    networks: Networks | msgspec.UnsetType = msgspec.UNSET


class RotateApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For how long the present secret keeps working beside the new one: 0 to 7 days."""

    overlap_seconds: Annotated[int, msgspec.Meta(ge=0, le=LONGEST_OVERLAP)] = DAY


class ApiKeySecret(msgspec.Struct, frozen=True):
    """The secret is shown only now."""

    api_key: ApiKeyView
    secret: str


class PlatformKeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key of our own NextPanel, without its secret; the fields are those of a license's key.

    `networks`: those it may be used from; an empty list is any.
    """

    id: UUID
    key_id: str
    name: str
    permissions: list[Permission]
    networks: list[str]
    is_active: bool
    expires_at: datetime | None
    previous_until: datetime | None
    last_used_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, key: ApiKey, now: datetime) -> "PlatformKeyView":
        return cls(
            id=key.id,
            key_id=key.key_id,
            name=key.name,
            permissions=sorted(PERMISSIONS.intersection(key.permissions)),
            networks=key.networks,
            is_active=key.is_active,
            expires_at=key.expires_at,
            previous_until=overlap_end(key, now),
            last_used_at=key.last_used_at,
            created_at=key.created_at.astimezone(UTC),
        )


class PlatformKeySecret(msgspec.Struct, frozen=True):
    """The secret is shown this once."""

    platform_key: PlatformKeyView
    secret: str


def overlap_end(key: ApiKey, now: datetime) -> datetime | None:
    """Until when the secret before this one works too; None where it does not."""
    overlaps = key.previous_until is not None and key.previous_until > now and key.is_active
    return key.previous_until if overlaps else None
