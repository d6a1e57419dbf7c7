"""Cache epochs: what was read of a bucket is believed while the bucket's era lives and its server's fence passes.

An Era covers all entries of one bucket while one server serves it. It ends when the bucket's mark changes, when
every key may have changed (a flush, a lost connection), and when another server takes the bucket over. So a million
cached entries are disbelieved by setting one flag.
"""

from core.hotstore import keys
from validator.redis.link import RedisLink


class Era:
    __slots__ = ("_known_until", "fence", "link", "live")

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self.fence = link.fence
        self.live = True
        self._known_until = float("-inf")

    @property
    def known_until(self) -> float:
        """Monotonic instant up to which its entries are known to have been true."""
        return self.fence.proven if self.live else self._known_until

    def end(self) -> None:
        self._known_until = self.fence.proven
        self.live = False

    @classmethod
    def past(cls, link: RedisLink, known_until: float) -> "Era":
        """An era that has ended: its entries were told, and are no longer believed."""
        era = cls(link)
        era.live = False
        era._known_until = known_until
        return era


class Eras:
    """The current era of each bucket, and with it the link to the server that answers for the bucket."""

    def __init__(self, link: RedisLink) -> None:
        self.by_tag = {tag: Era(link) for tag in keys.TAGS}
        """By the first two letters of an `h`. Changed in place."""

    def of(self, bucket: int) -> Era:
        return self.by_tag[keys.TAGS[bucket]]

    def end(self, bucket: int) -> None:
        tag = keys.TAGS[bucket]
        self._begin(tag, self.by_tag[tag].link)

    def end_of(self, link: RedisLink) -> None:
        """Everything that this server serves may have changed."""
        for tag, era in self.by_tag.items():
            if era.link is link:
                self._begin(tag, link)

    def give(self, bucket: int, link: RedisLink) -> None:
        """Notes that this server serves the bucket; a new era begins if another one did."""
        tag = keys.TAGS[bucket]
        if self.by_tag[tag].link is not link:
            self._begin(tag, link)

    def _begin(self, tag: str, link: RedisLink) -> None:
        self.by_tag[tag].end()
        self.by_tag[tag] = Era(link)
