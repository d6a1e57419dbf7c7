"""Runs and differences on the wire."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from billing_api.web.fields import CreatedAt, LicenseId, RunId
from db.models.reconciliation import (
    DifferenceOutcome,
    ReconciliationDifference,
    ReconciliationRun,
    RecordFault,
    RunState,
    Subject,
)
from db.paging import Page


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison of Redis with PostgreSQL: how much was compared, and the result."""

    id: RunId
    cause: Annotated[
        str, Meta(description="Why it ran: the schedule, or the command of an operator.", examples=["schedule"])
    ]
    state: Annotated[
        RunState,
        Meta(
            description=(
                "`differing`: a difference is left that could not be repaired. `failed`: the run did not finish."
            ),
            examples=["repaired"],
        ),
    ]
    started_at: Annotated[datetime, Meta(description="When it began.", examples=["2026-11-22T16:00:00Z"])]
    finished_at: Annotated[
        datetime | None, Meta(description="When it ended; null while it runs.", examples=["2026-11-22T16:00:09Z"])
    ]
    seconds: Annotated[float | None, Meta(description="How long it took; null while it runs.", examples=[9.2])]
    licenses: Annotated[int, Meta(description="How many licenses were compared, by digest.", examples=[120000])]
    api_keys: Annotated[int, Meta(description="How many API keys were compared, by digest.", examples=[90000])]
    records: Annotated[int, Meta(description="How many of these were compared field by field.", examples=[512])]
    totals: Annotated[int, Meta(description="How many usage totals were added up again.", examples=[240000])]
    events: Annotated[int, Meta(description="How many usage events were added up again.", examples=[1800000])]
    differences: Annotated[int, Meta(description="How many differences were found.", examples=[1])]
    repaired: Annotated[int, Meta(description="How many of them were repaired.", examples=[1])]
    undecided: Annotated[
        int,
        Meta(
            description="Changed so often that no moment was found to compare them; the next run looks again.",
            examples=[0],
        ),
    ]
    error: Annotated[str | None, Meta(description="Why it failed; null where it did not.", examples=[None])]

    @classmethod
    def of(cls, row: ReconciliationRun) -> "RunView":
        return msgspec.convert(row, cls, from_attributes=True)


class DifferenceView(msgspec.Struct, frozen=True, kw_only=True):
    """A difference between Redis and PostgreSQL."""

    id: Annotated[UUID, Meta(description="The difference's id.", examples=["019ab400-5a91-7b1c-8c2d-0a1b2c3d4e5f"])]
    subject: Annotated[Subject, Meta(description="What differs.", examples=["license"])]
    fault: Annotated[
        RecordFault,
        Meta(
            description="How Redis differs from PostgreSQL; `unknown`: PostgreSQL has no such record.",
            examples=["older"],
        ),
    ]
    name: Annotated[
        str,
        Meta(
            description=(
                "What differs: the license's hash as Redis has it, a key's id, a range of buckets, or an "
                "outbox row's id."
            ),
            examples=["9f86d081884c7d659a2feaa0c55ad015"],
        ),
    ]
    license_id: Annotated[
        LicenseId | None, Meta(description="The license that it is about; null where it is about none.")
    ]
    expected: Annotated[
        str | None, Meta(description="What PostgreSQL says; null where it says nothing.", examples=["1.4"])
    ]
    found: Annotated[str | None, Meta(description="What Redis had; null where it had nothing.", examples=["1.3"])]
    outcome: Annotated[
        DifferenceOutcome,
        Meta(
            description=(
                "What became of it. `changed`: the record changed before the repair; the next run compares "
                "it again. `found`: the run ended before the result was known. `evidence`: nothing is "
                "repaired, staff have to look at it."
            ),
            examples=["repaired"],
        ),
    ]
    created_at: CreatedAt

    @classmethod
    def of(cls, row: ReconciliationDifference) -> "DifferenceView":
        return msgspec.convert(row, cls, from_attributes=True)


class RunWithDifferences(msgspec.Struct, frozen=True):
    """A run, and a page of its differences. Beyond 10,000 they are only counted."""

    run: Annotated[RunView, Meta(description="The comparison.")]
    differences: Annotated[Page[DifferenceView], Meta(description="A page of its differences.")]
