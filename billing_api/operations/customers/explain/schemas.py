"""An explanation on the wire."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from billing_api.licensing.licenses.schemas import SuspensionCauseForStaff
from billing_api.operations.customers.explain.rules import Cause, CauseCode, Facts, Judged, Place, StoreState
from billing_api.web.fields import LICENSE
from billing_api.web.parameters import STORABLE
from core.licensing.verdict import Code, Finding


class AskWhy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a panel asked about."""

    feature: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            pattern=STORABLE,
            description="`create_account`, `create_domain`, `create_database` and `create_email` use up a resource; "
            "any other is a plain flag of the license.",
            examples=["create_database"],
        ),
    ]
    fingerprint: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=256,
                pattern=STORABLE,
                description="The fingerprint that the panel sends, if it sends one.",
                examples=["8d1c6b1e-panel-7"],
            ),
        ]
        | None
    ) = None


class SeenRule(msgspec.Struct, frozen=True):
    """One rule with one store's data."""

    applies: Annotated[bool, Meta(description="The rule's condition holds.", examples=[True])]
    decides: Annotated[
        bool, Meta(description="It is the first that applies, so it gives the verdict.", examples=[True])
    ]
    saw: Annotated[
        dict[str, Any],
        Meta(
            description="The values that the rule looked at.",
            examples=[{"resource": "databases", "limit": 50, "used": 50, "held": 0}],
        ),
    ]


class RuleBySide(msgspec.Struct, frozen=True, kw_only=True):
    """A rule with the data of both stores. Rules are in the order in which they are tried."""

    rule: Annotated[Code, Meta(description="The code of the verdict that this rule gives.")]
    postgres: Annotated[SeenRule | None, Meta(description="Null: there was nothing to look at.")]
    redis: Annotated[SeenRule | None, Meta(description="Null: there was nothing to look at, or Redis was not read.")]
    differs: Annotated[
        bool, Meta(description="Both were read, and the rule has another outcome or saw other values.", examples=[True])
    ]


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What one store says, and how old that is."""

    code: Annotated[Code | None, Meta(description="The verdict; null where this store says nothing.")]
    valid: Annotated[
        bool | None, Meta(description="True for VALID and GRACE; null where this store says nothing.", examples=[False])
    ]
    remaining_quota: Annotated[
        int | None, Meta(description="As a validator tells it; null also where nothing is counted.", examples=[0])
    ]
    epoch: Annotated[int | None, Meta(description="Rises with each restore of the database.", examples=[1])]
    version: Annotated[int | None, Meta(description="Rises with each change of the license.", examples=[7])]
    as_of: Annotated[
        datetime | None,
        Meta(
            description="Every change that was committed up to then is in this side's answer.",
            examples=["2026-03-10T09:30:00.120Z"],
        ),
    ]
    age_seconds: Annotated[
        float | None, Meta(description="For how long changes may be missing here, in seconds.", examples=[0.12])
    ]


class PostgresSide(Side, frozen=True, kw_only=True):
    """The truth. Reservations are not in it: Redis alone has them."""

    updated_at: Annotated[
        datetime,
        Meta(
            description="When the license was last changed by a person or a payment.",
            examples=["2026-03-01T00:00:00Z"],
        ),
    ]


class RedisSide(Side, frozen=True, kw_only=True):
    """The projection, from which validators answer."""

    state: Annotated[
        StoreState,
        Meta(
            description="`unreachable`: no answer in time. `unreadable`: what is stored is no record. `not_loaded`: "
            "being filled, nothing may be concluded. "
            "`unconfirmed`: not yet compared with PostgreSQL since its server restarted or was promoted."
        ),
    ]
    waiting_since: Annotated[
        datetime | None,
        Meta(
            description="The oldest change of this license that waits to be projected; null where none waits.",
            examples=[None],
        ),
    ]


class CauseView(msgspec.Struct, frozen=True):
    """A reason why both stores differ, or may differ."""

    code: Annotated[CauseCode, Meta(description="What it is, for programs.", examples=["reservations"])]
    detail: Annotated[
        str,
        Meta(
            description="The same for people, with the numbers.",
            examples=["2 of databases are reserved by panels; reservations are in Redis alone"],
        ),
    ]

    @classmethod
    def of(cls, cause: Cause) -> "CauseView":
        return cls(cause.code, cause.detail)


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict explained, by the validators' own rules: as PostgreSQL has its input, and as Redis has it."""

    license_id: Annotated[UUID, Meta(description="The license that was asked about.", examples=[LICENSE])]
    feature: Annotated[str, Meta(description="The feature that was asked about.", examples=["create_database"])]
    asked_at: Annotated[
        datetime,
        Meta(description="The instant at which both sides were judged.", examples=["2026-03-10T09:30:00.240Z"]),
    ]
    differs: Annotated[
        bool,
        Meta(description="Redis was read, and its verdict, a rule or a version is not PostgreSQL's.", examples=[True]),
    ]
    causes: Annotated[list[CauseView], Meta(description="Why; empty where both hold the same.")]
    suspension_causes: Annotated[
        list[SuspensionCauseForStaff],
        Meta(description="Why the license is suspended, the oldest first; empty where it is not.", examples=[[]]),
    ]
    postgres: Annotated[PostgresSide, Meta(description="What PostgreSQL says: the truth.")]
    redis: Annotated[RedisSide, Meta(description="What Redis says, and so what validators answer.")]
    rules: Annotated[list[RuleBySide], Meta(description="Every rule, in the order in which they are tried.")]


def by_side(here: Judged, there: Judged | None) -> list[RuleBySide]:
    """Every rule that either side tried, in the order of the rules."""
    places = {*here.findings, *(() if there is None else there.findings)}
    order = list(Code)
    return [_by_side(place, here, there) for place in sorted(places, key=lambda it: (order.index(it.rule), it.nth))]


def verdict_of(judged: Judged | None, facts: Facts | None) -> dict[str, Any]:
    """The fields of a `Side` that the verdict and the record give."""
    record = None if facts is None else facts.record
    return {
        "code": None if judged is None else judged.verdict.code,
        "valid": None if judged is None else judged.verdict.valid,
        "remaining_quota": None if judged is None else judged.verdict.remaining,
        "epoch": None if record is None else record.epoch,
        "version": None if record is None else record.version,
    }


def _by_side(place: Place, here: Judged, there: Judged | None) -> RuleBySide:
    postgres = _seen(here, place)
    redis = None if there is None else _seen(there, place)
    return RuleBySide(rule=place.rule, postgres=postgres, redis=redis, differs=there is not None and postgres != redis)


def _seen(judged: Judged, place: Place) -> SeenRule | None:
    found: Finding | None = judged.findings.get(place)
    return None if found is None else SeenRule(found.applies, judged.decides == place, found.saw)
