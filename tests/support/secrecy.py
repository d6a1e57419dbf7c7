"""Leak detection: whether a secret of the test run appears in a log line or in an error document.

    secrets   recorded where they are made, sealed, hashed, and on the wire (tests/support/secrets_in_use.py)
    told      log lines of the applications inside of pytest (after redaction, as production writes them), log files of
              the processes that tests start, and bodies of application/problem+json
    leaks     found at the end of the run: a line may be written before the test knows its secret

The told text is cut into pieces of eight characters, and the beginnings of all secrets are looked up among them. So one
pass over the text is enough for any number of secrets. Secrets of less than ten characters are left out, because they
would be found by chance. Of ours that is only the six-digit code, which is valid for half a minute, once.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from typing_extensions import override

LEAK: Final = "secrets were written where others read:"
_PIECE: Final = 8
_SHORTEST: Final = 10
_FEWEST_SYMBOLS: Final = 6
"""`NP-0000-0000-0000`, `aaaaaaaaaa`: values that tests send to be refused are not secrets."""


class Told(NamedTuple):
    where: str
    test: str
    text: str


class Leak(NamedTuple):
    kind: str
    where: str
    test: str
    around: str
    """The place, without the secret."""

    @override
    def __str__(self) -> str:
        return f"{self.kind} in {self.where}\n    seen after {self.test}\n    {self.around}"


class Watch:
    def __init__(self) -> None:
        self.test = "(before any test)"
        self._learns = True
        self._kinds: dict[str, str] = {}
        self._told: dict[str, Told] = {}
        self._followed: dict[Path, int] = {}

    def learn(self, kind: str, secret: object) -> None:
        """Records `secret`: it must not appear anywhere, earlier or later in the run."""
        if not self._learns:
            return
        if isinstance(secret, bytes):
            secret = secret.decode("utf-8", "replace")
        if isinstance(secret, str) and len(secret) >= _SHORTEST and len(set(secret)) >= _FEWEST_SYMBOLS:
            for spelled in {secret, json.dumps(secret)[1:-1], quote(secret, safe="")}:
                self._kinds.setdefault(spelled, kind)

    @contextmanager
    def learning_nothing(self) -> Iterator[None]:
        """While random text is sent: the same text comes at a password's place and elsewhere, so it is not a secret."""
        self._learns = False
        try:
            yield
        finally:
            self._learns = True

    def hear(self, where: str, text: str) -> None:
        self._told.setdefault(text, Told(where, self.test, text))

    def hear_line(self, _logger: Any, _method: str, line: Any) -> Any:
        """The last structlog processor, after the one that renders the line."""
        self.hear("an application's log", line)
        return line

    @contextmanager
    def following(self, log: Path) -> Iterator[None]:
        """Reads what a process writes to its log while the block runs; for a folder, to all its `*.log`."""
        self._followed.setdefault(log, 0)
        try:
            yield
        finally:
            self.catch_up()
            for file in [file for file in self._followed if file == log or log in file.parents]:
                del self._followed[file]

    def catch_up(self) -> None:
        """Reads new lines of all logs, and assigns them to the test that has just run."""
        for path in list(self._followed):
            for file in sorted(path.glob("*.log")) if path.is_dir() else [path]:
                self._read_on(file)

    def _read_on(self, file: Path) -> None:
        if not file.exists():
            return
        known = self._followed.get(file, 0)
        if known > file.stat().st_size:
            known = 0  # the file was truncated
        with file.open("rb") as log:
            log.seek(known)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]  # the rest of a line comes with the next read
        self._followed[file] = known + len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            self.hear(f"the log {file.name} of a process", line)

    def leaks(self) -> list[Leak]:
        """The first of each kind at each place."""
        beginnings: dict[str, list[str]] = {}
        for secret in self._kinds:
            beginnings.setdefault(secret[:_PIECE], []).append(secret)
        found: dict[tuple[str, str], Leak] = {}
        for told in self._told.values():
            text = told.text
            pieces = {text[start : start + _PIECE] for start in range(len(text) - _PIECE + 1)}
            for secret in (secret for piece in pieces & beginnings.keys() for secret in beginnings[piece]):
                if secret in text:
                    leak = self._leak(told, secret)
                    found.setdefault((leak.kind, leak.where), leak)
        return sorted(found.values())

    def _leak(self, told: Told, secret: str) -> Leak:
        before, _, after = told.text.partition(secret)
        kind = self._kinds[secret]
        return Leak(kind, told.where, told.test, f"…{before[-80:]}<{kind}>{after[:40]}…")

    @property
    def kinds(self) -> set[str]:
        return set(self._kinds.values())


WATCH: Final = Watch()
"""The watch of this process: pytest's, or one of xdist's workers."""
