"""Projection of seeded licenses: writes their records to Redis, also where no worker has prepared the server."""

from collections.abc import Sequence

from core.hotstore.functions import FunctionsMissing
from core.hotstore.writer import Writer
from core.licensing.record import LicenseRecord


async def apply(writer: Writer, records: Sequence[tuple[bytes, LicenseRecord]]) -> None:
    try:
        await writer.apply_licenses(records)
    except FunctionsMissing:
        await writer.load_functions()
        await writer.apply_licenses(records)
