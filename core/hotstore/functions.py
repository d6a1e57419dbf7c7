"""Function library in Redis: its source, its version, the names to call, and how to tell that it is missing."""

import hashlib
from importlib import resources
from typing import Final

from typing_extensions import override

from core.errors import Unavailable
from core.hotstore import keys
from core.hotstore.codec import UNLIMITED
from core.licensing.plan import RESOURCES

_TEMPLATE: Final = (
    resources.files("core.hotstore")
    .joinpath("functions.lua")
    .read_text("utf-8")
    .replace("@RESOURCES@", ", ".join(f"'{resource}'" for resource in RESOURCES))
    .replace("@HELD@", ", ".join(f"'={resource}'" for resource in RESOURCES))
    .replace("@TOTALS@", ", ".join(f"'{resource}', '{resource}:v'" for resource in sorted(RESOURCES)))
    .replace("@UNLIMITED@", str(UNLIMITED))
    .replace("@DOCUMENT@", keys.DOCUMENT_KIND)
    .replace("@USAGE@", keys.USAGE_KIND)
    .replace("@LEASE@", keys.LEASE_KIND)
    .replace("@HOLDS@", keys.HOLDS_KIND)
    .replace("@HOLD_ENDS@", keys.HOLD_ENDS_KIND)
    .replace("@MARK@", keys.MARK_KIND)
    .replace("@MARGIN@", str(keys.HOLD_MARGIN * 1000))
    .replace("@LONGEST_DOUBT@", str(keys.LONGEST_DOUBT * 1000))
    .replace("@REPLAYABLE@", str(keys.REPLAYABLE * 1000))
    .replace("@RUN_ID_LENGTH@", str(keys.RUN_ID_LENGTH))
)

VERSION: Final = hashlib.sha256(_TEMPLATE.encode()).hexdigest()[:8]
LIBRARY: Final = f"nextpanel_{VERSION}"
SOURCE: Final = _TEMPLATE.replace("@VERSION@", VERSION)


def name(function: str) -> str:
    """The name of this release's `function` on the server."""
    return f"np_{VERSION}_{function}"


READ: Final = name("read")
READ_MANY: Final = name("read_many")
READ_KEY: Final = name("read_key")
APPLY: Final = name("apply")
USAGE: Final = name("usage")
RESERVE: Final = name("reserve")
PIN: Final = name("pin")
PINNED: Final = name("pinned")
SETTLE: Final = name("settle")
RELEASE: Final = name("release")
BEGIN: Final = name("begin")
LOADED: Final = name("loaded")
FILL: Final = name("fill")
SYNCED: Final = name("synced")
DIGEST: Final = name("digest")
STRAYS: Final = name("strays")
STANDING: Final = name("standing")
REPAIR: Final = name("repair")


class NotReady(Unavailable):
    """The hot store cannot answer yet: nothing may be concluded from what is missing in it."""

    code = "not_ready"


class FunctionsMissing(NotReady):
    """The server lacks this release's functions: it is new, or came back empty. Call `load_functions`."""

    @override
    def __init__(self) -> None:
        super().__init__(f"the function library {LIBRARY} is not loaded")


def is_missing(message: str) -> bool:
    """Whether a server's error says that the called function does not exist."""
    return "Function not found" in message
