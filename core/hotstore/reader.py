"""Reader of the projection through redis-py, for callers that are not in a hurry: the billing API, tools, tests."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from core.hotstore import keys
from core.hotstore.client import HotStoreClient, is_of_reign
from core.hotstore.snapshot import Reading, decode_reading, read_command
from core.licensing.plan import RESOURCES, Resource


class Copy(NamedTuple):
    """A license as Redis has it, and how old that may be."""

    reading: Reading
    stamps: Mapping[Resource, tuple[int, int]]
    """Epoch and version of each total."""
    synced_through: float | None
    """Unix seconds: every change that was committed before is in the reading. None: no relay has said so yet."""
    confirmed: bool
    """False: the server has restarted or was promoted since the bucket was compared with PostgreSQL."""


class Reader:
    def __init__(self, client: HotStoreClient) -> None:
        self._client = client

    async def read(self, license_hash: bytes) -> Reading:
        """What stands in Redis now. Look at `loaded` before concluding anything from what is absent."""
        (answer,) = await self._client.pipeline([read_command(keys.short_hash(license_hash))])
        return decode_reading(answer)

    async def read_copy(self, license_hash: bytes) -> Copy:
        """For people who ask how old the data is; it costs a survey of all servers.

        ValueError or a MsgspecError where what is stored is no record of this release.
        """
        h = keys.short_hash(license_hash)
        # First how far the projection has come, so that the record cannot be older than that says.
        (through,) = await self._client.pipeline([("HGET", keys.SYNC, "synced_through")])
        stamps = ("HMGET", keys.usage(h), *(f"{resource}:v" for resource in RESOURCES))
        answer, stamped = await self._client.pipeline([read_command(h), stamps])
        reading = decode_reading(answer)
        reigns = (await (await self._client.servers()).survey()).reigns
        return Copy(
            reading=reading,
            stamps=_stamps(stamped),
            synced_through=None if through is None else int(through) / 1000,
            confirmed=is_of_reign(reading.loaded, reigns[keys.bucket_of_license(h)]),
        )


def _stamps(values: Sequence[bytes | None]) -> dict[Resource, tuple[int, int]]:
    return {name: _stamp(value) for name, value in zip(RESOURCES, values, strict=True) if value is not None}


def _stamp(value: bytes) -> tuple[int, int]:
    epoch, version = value.split(b":")
    return int(epoch), int(version)
