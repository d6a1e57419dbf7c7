"""Reading the projection through redis-py, for whoever is not in a hurry: the billing API, tools, tests."""

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from core.hotstore import functions, keys
from core.hotstore.servers import Servers, find_servers
from core.hotstore.snapshot import (
    Reading,
    decode_reading,
    read_command,
)


class HotStoreReader:
    def __init__(self, redis: Redis) -> None:
        """`redis` answers bytes (decode_responses off); any node where it is a Cluster's, its peers are found."""
        self._redis = redis
        self._found: Servers | None = None

    async def close(self) -> None:
        """Closes what the reader opened; `redis` belongs to whoever made it."""
        if self._found is not None:
            await self._found.close()

    async def read(self, license_hash: bytes) -> Reading:
        """What stands in Redis now. Look at `loaded` before concluding anything from what is absent."""
        if self._found is None:
            self._found = await find_servers(self._redis)
        (answer,) = await self._found.pipeline([read_command(keys.short_hash(license_hash))])
        if isinstance(answer, ResponseError) and functions.is_missing(str(answer)):
            raise functions.FunctionsMissing from answer
        if isinstance(answer, Exception):
            raise answer
        return decode_reading(answer)
