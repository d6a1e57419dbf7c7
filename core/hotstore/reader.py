"""Reader of the projection through redis-py, for callers that are not in a hurry: the billing API, tools, tests."""

from core.hotstore import keys
from core.hotstore.client import HotStoreClient
from core.hotstore.snapshot import Reading, decode_reading, read_command


class Reader:
    def __init__(self, client: HotStoreClient) -> None:
        self._client = client

    async def read(self, license_hash: bytes) -> Reading:
        """What stands in Redis now. Look at `loaded` before concluding anything from what is absent."""
        (answer,) = await self._client.pipeline([read_command(keys.short_hash(license_hash))])
        return decode_reading(answer)
