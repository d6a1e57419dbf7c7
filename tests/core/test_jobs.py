"""Jobs: each can be written and read again, and has its lane."""

from typing import get_args
from uuid import UUID, uuid4

import msgspec
import pytest

from core.jobs import Job, PartnerJob, ProjectionJob, ProjectLicense, from_row, lane, to_row


def a_job(kind: type[msgspec.Struct]) -> Job:
    values = {UUID: uuid4(), str: "text", tuple[tuple[UUID, str], ...]: ((uuid4(), "databases"), (uuid4(), "emails"))}
    needed = (field for field in msgspec.structs.fields(kind) if field.required)
    return kind(**{field.name: values[field.type] for field in needed})  # type: ignore[return-value]  # one of the union, by parametrization


@pytest.mark.parametrize("kind", get_args(Job))
def test_every_kind_survives_its_row(kind: type[msgspec.Struct]) -> None:
    job = a_job(kind)
    row = msgspec.json.decode(msgspec.json.encode(to_row(job)))  # as the database keeps it
    assert row["type"] == kind.__struct_config__.tag
    assert from_row(row) == job


def test_lanes() -> None:
    assert {lane(a_job(kind)) for kind in get_args(ProjectionJob)} == {"projection"}
    assert {lane(a_job(kind)) for kind in get_args(PartnerJob)} == {"partner"}


def test_a_retired_hash_is_carried() -> None:
    job = ProjectLicense(uuid4(), retired_hash="00ff")
    assert from_row(to_row(job)) == job


def test_a_kind_from_the_future_is_not_misread() -> None:
    with pytest.raises(msgspec.ValidationError):
        from_row({"type": "invented_later", "license_id": str(uuid4())})
