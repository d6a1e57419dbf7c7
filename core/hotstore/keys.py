"""Redis keys: all of ours; no other file spells one.

Keys of the projection:

    npd:{b}:h   document of a license (msgpack)
    npu:{b}:h   usage: hash of resource → total, and `resource:v` → "epoch:version" of that total
    nph:{b}:h   holds: hash of reservation id → "count:resource", and `=resource` → sum of the holds
    npx:{b}:h   when they end: sorted set of reservation id, scored by server time in milliseconds
    npp:{b}     pins, holds whose reports are being recorded: sorted set of "h:id", scored by when they were pinned
    npe:{b}     ids of holds that have ended: sorted set, scored by when; each stays for REPLAYABLE seconds
    npl:{b}:h   lease (msgpack)
    npa:{b}:k   API key k (msgpack)
    npi:{b}     index: sorted set of the `h` of all documents but tombstones, all scored 0, so in the order of the names
    npk:{b}     index: the same of the API keys
    npz:{b}     the bucket's mark: `building` and `loaded` incarnation, `reserve_from`
    npj         public keys of the leases (JWKS, RFC 7517)
    npw         a test write of the health probe, kept for a second
    npz         `epoch` and `synced_through` (milliseconds); `filled` licenses in `filled_buckets`: a rebuild's progress

Keys of access to the billing API, on the queue's server, which is never a Cluster; all of them may be lost:

    nps:s       what Postgres said of session s: "generation instant role"
    npg:u       generation of what is believed of user u's sessions; empty while nothing is
    npr:n:w     limit n of w, an address or a user: the instant (microseconds) at which its requests are all paid for

`h` is the first half of the license key's keyed hash in hex, the bucket `b` its first byte. The braces are a Cluster's
hash tag: all keys of one question or one function are in one slot. An API key has a bucket, too, from a hash of its id:
"there is no such key" may be said only where the mark of its bucket says loaded.
"""

import hashlib
from typing import Final
from uuid import UUID

BUCKETS: Final = 256
HASH_BYTES: Final = 16

RUN_ID_LENGTH: Final = 16
"""How much of the server's run id an incarnation begins with; after a restart it is known to be an older one."""

LONGEST_HOLD: Final = 60
"""Seconds that a reservation may last; also for how long none is granted where live ones may have been lost."""

HOLD_MARGIN: Final = 1
"""A hold that ran out is released once everything up to so many seconds after its end was projected. The margin covers
reports that were being committed then, and two clocks: the end is Redis's time, a commit is Postgres's."""

LONGEST_DOUBT: Final = 3600
"""Seconds for which a hold that ran out is kept while nothing proves that it was not reported. Where the projection is
further behind nothing is reserved at all, so it is safe to forget the hold after that."""

REPLAYABLE: Final = 330
"""Seconds for which a signed request can be replayed: its `t` may be 300 s in the past and 30 s in the future
(core/crypto/signature.py). For so long the id of a hold that has ended is not used again."""

SYNC: Final = "npz"
JWKS: Final = "npj"
LOOKED_AT: Final = "npw"

_OWNER_LENGTH: Final = 8  # symbols of `h` that a reservation's id begins with

DOCUMENT_KIND: Final = "npd"
USAGE_KIND: Final = "npu"
LEASE_KIND: Final = "npl"
HOLDS_KIND: Final = "nph"
HOLD_ENDS_KIND: Final = "npx"
PINS_KIND: Final = "npp"
API_KEY_KIND: Final = "npa"
MARK_KIND: Final = "npz"
INDEX_KIND: Final = "npi"
API_KEY_INDEX_KIND: Final = "npk"

TAGS: Final = tuple(f"{bucket:02x}" for bucket in range(BUCKETS))
"""The hash tags of the buckets, with which the `h` of their licenses begin."""


def short_hash(digest: bytes) -> str:
    """`h` of a license, from its keyed hash as Postgres stores it (32 bytes) or as Redis does (16)."""
    if len(digest) < HASH_BYTES:
        raise ValueError(f"a license hash has at least {HASH_BYTES} bytes, not {len(digest)}")
    return digest[:HASH_BYTES].hex()


def bucket_of_license(h: str) -> int:
    """Raises ValueError where this is no `h`."""
    if len(bytes.fromhex(h)) != HASH_BYTES or h != h.lower():
        raise ValueError(f"{h!r} is no license's hash")
    return int(h[:2], 16)


def bucket_of_api_key(key_id: str) -> int:
    return hashlib.sha256(key_id.encode()).digest()[0]


def document(h: str) -> str:
    return f"npd:{{{h[:2]}}}:{h}"


def usage(h: str) -> str:
    return f"npu:{{{h[:2]}}}:{h}"


def holds(h: str) -> str:
    return f"nph:{{{h[:2]}}}:{h}"


def hold_ends(h: str) -> str:
    return f"npx:{{{h[:2]}}}:{h}"


def pins(bucket: int) -> str:
    return f"npp:{{{bucket:02x}}}"


def pins_of(h: str) -> str:
    return f"npp:{{{h[:2]}}}"


def ended(bucket: int) -> str:
    return f"npe:{{{bucket:02x}}}"


def ended_of(h: str) -> str:
    return f"npe:{{{h[:2]}}}"


def reservation_id(h: str, identity: bytes) -> str:
    """The id of a hold. It tells the license that the hold belongs to, so that no other license can report under it."""
    return h[:_OWNER_LENGTH] + hashlib.sha256(identity).hexdigest()[:24]


def is_made_for(reservation: str, h: str) -> bool:
    """Whether the reservation may belong to this license; Redis knows whether it does."""
    return reservation[:_OWNER_LENGTH] == h[:_OWNER_LENGTH]


def lease(h: str) -> str:
    return f"npl:{{{h[:2]}}}:{h}"


def api_key(key_id: str) -> str:
    return f"npa:{{{bucket_of_api_key(key_id):02x}}}:{key_id}"


def index(bucket: int) -> str:
    return f"npi:{{{bucket:02x}}}"


def api_key_index(bucket: int) -> str:
    return f"npk:{{{bucket:02x}}}"


def mark(bucket: int) -> str:
    return f"npz:{{{bucket:02x}}}"


def mark_of(h: str) -> str:
    return f"npz:{{{h[:2]}}}"


def session(session_id: UUID) -> str:
    return f"nps:{session_id.hex}"


def session_generation(user_id: UUID) -> str:
    return f"npg:{user_id.hex}"


def rate(limit: str, who: str) -> str:
    return f"npr:{limit}:{who}"


def parts(key: str) -> tuple[str, int, str]:
    """Kind, bucket and what follows (`h`, an API key's id, nothing for a mark) of a key with a bucket."""
    return key[:3], int(key[5:7], 16), key[9:]
