"""API key schemas: requests and answers as JSON."""

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from billing_api.access.networks import Networks
from billing_api.web import fields
from billing_api.web.fields import ApiKeyId, CreatedAt, InstanceId, KeyId, LicenseId
from billing_api.web.text_patterns import ONE_LINE, ONE_LINE_IN_WORDS
from core.field_errors import FORM
from core.licensing.record import PERMISSIONS, Permission
from db.models.licensing import ApiKey
from db.reads import Record

DAY: Final = 24 * 3600
LONGEST_OVERLAP: Final = 7 * DAY
"""Seconds."""

IsActive = Annotated[bool, Meta(description="False: it was revoked, and is refused everywhere.", examples=[True])]
ExpiresAt = Annotated[datetime | None, Meta(description="When it ends; null: never.", examples=[None])]
PreviousUntil = Annotated[
    datetime | None,
    Meta(description="Until when the previous secret works too; null: it does not.", examples=[None]),
]
LastUsedAt = Annotated[
    datetime | None,
    Meta(
        description=("When it last signed a usage report, to the minute; validations do not count. Null: never."),
        examples=["2026-11-23T09:30:00Z"],
    ),
]


class ApiKeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret."""

    id: ApiKeyId
    key_id: KeyId
    license_id: LicenseId
    name: Annotated[str, Meta(description="The key's name, as its owner gave it.", examples=["panel 1"])]
    permissions: Annotated[
        list[Permission], Meta(description="What the key may do.", examples=[["validate", "reserve", "usage", "lease"]])
    ]
    instance_id: Annotated[
        InstanceId | None, Meta(description="The panel whose activation created the key; null where its owner did.")
    ]
    is_active: IsActive
    expires_at: ExpiresAt
    previous_until: PreviousUntil
    last_used_at: LastUsedAt
    created_at: CreatedAt

    @classmethod
    def of(cls, key: ApiKey | Record, now: datetime) -> "ApiKeyView":
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


KeyName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100,
        pattern=ONE_LINE,
        description="The name that the key is to have in lists.",
        examples=["panel 1"],
        extra={FORM: ONE_LINE_IN_WORDS},
    ),
]
KeyPermissions = Annotated[
    list[Permission],
    Meta(
        min_length=1,
        max_length=len(PERMISSIONS),
        description="What the key may do.",
        examples=[["validate", "reserve", "usage", "lease"]],
    ),
]


class NewApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to create."""

    name: KeyName
    permissions: KeyPermissions
    expires_at: Annotated[
        Annotated[datetime, msgspec.Meta(tz=True)] | None,
        Meta(
            description="When it is to end, with a UTC offset; absent or null: valid until it is revoked.",
            examples=[None],
        ),
    ] = None


class NewPlatformKey(NewApiKey, frozen=True, forbid_unknown_fields=True):
    """`networks` absent or empty: it may be used from anywhere."""

    networks: Networks = []


class ChangePlatformKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is absent stays as it is. Secrets and the end do not change here: rotate or revoke the key."""

    name: KeyName | msgspec.UnsetType = msgspec.UNSET
    permissions: KeyPermissions | msgspec.UnsetType = msgspec.UNSET
    networks: Networks | msgspec.UnsetType = msgspec.UNSET


class RotateApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the present secret goes on beside the new one."""

    overlap_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=LONGEST_OVERLAP,
            description="In seconds: 0 (the present secret ends now) to 604800 (7 days).",
            examples=[86400],
        ),
    ] = DAY


class ApiKeySecret(msgspec.Struct, frozen=True):
    """The key with its secret, which is shown only now."""

    api_key: Annotated[ApiKeyView, Meta(description="The key.")]
    secret: Annotated[
        str, Meta(description="Signs calls (HMAC-SHA256). Keep it as a secret.", examples=[fields.BEARER_SECRET])
    ]


class PlatformKeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key of our own NextPanel, without its secret."""

    id: ApiKeyId
    key_id: KeyId
    name: Annotated[str, Meta(description="The key's name, as staff gave it.", examples=["panel cluster"])]
    permissions: Annotated[
        list[Permission], Meta(description="What the key may do.", examples=[["validate", "reserve", "usage", "lease"]])
    ]
    networks: Annotated[
        list[str],
        Meta(
            description="Networks it may be used from, in CIDR notation; an empty list is any network.",
            examples=[["203.0.113.0/24"]],
        ),
    ]
    is_active: IsActive
    expires_at: ExpiresAt
    previous_until: PreviousUntil
    last_used_at: LastUsedAt
    created_at: CreatedAt

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
    """The key with its secret, which is shown only now."""

    platform_key: Annotated[PlatformKeyView, Meta(description="The key.")]
    secret: Annotated[
        str, Meta(description="Signs calls (HMAC-SHA256). Keep it as a secret.", examples=[fields.BEARER_SECRET])
    ]


def overlap_end(key: ApiKey | Record, now: datetime) -> datetime | None:
    """Until when the secret before this one works too; None where it does not."""
    overlaps = key.previous_until is not None and key.previous_until > now and key.is_active
    return key.previous_until if overlaps else None
