"""System user that PostgreSQL runs as when we are root, because it refuses to run as root."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from devstack.leash import Account

_OWN: Final = "nextpanel-postgres"


def account_for(data: Path) -> Account | None:
    """None for an ordinary user, who runs everything under their own account.

    For root: the data folder's owner, so that a folder keeps working whatever users come and go; else the machine's
    `postgres`; else an account made for this.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return _owner(data)
    return _named("postgres") or _named(_OWN) or _created() or Account.named("nobody")


def _owner(data: Path) -> Account:
    facts = data.stat()
    return Account(str(facts.st_uid), facts.st_uid, facts.st_gid)


def _named(name: str) -> Account | None:
    try:
        return Account.named(name)
    except KeyError:
        return None


def _created() -> Account | None:
    program = shutil.which("useradd", path=f"{os.defpath}:/usr/sbin:/sbin")
    if program is None:
        return None
    words = (
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        "/nonexistent",
        "--shell",
        "/bin/false",
        _OWN,
    )
    subprocess.run((program, *words), capture_output=True, check=False)
    return _named(_OWN)
