"""The table of what the API serves. An operation is a line: method, path, the SDK's parameters, and the work.

The work is a plain function of the books, the decoded parameters and the ids in the path, and gives back the object to
show. It does not await: one request at a time decides, so two of them cannot both take what only one may.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from devstack.simulators.stripe.books import Document

Method = Literal["GET", "POST", "DELETE"]
Work = TypeVar("Work", bound=Callable[..., Document])


@dataclass(frozen=True)
class Operation:
    method: Method
    path: str
    """Ids are `{…}`; they are handed to the work in their order."""
    parameters: type
    work: Callable[..., Document]


class Operations(list[Operation]):
    """One family's part of the table."""

    def get(self, path: str, parameters: type) -> Callable[[Work], Work]:
        return self._line("GET", path, parameters)

    def post(self, path: str, parameters: type) -> Callable[[Work], Work]:
        return self._line("POST", path, parameters)

    def delete(self, path: str, parameters: type) -> Callable[[Work], Work]:
        return self._line("DELETE", path, parameters)

    def _line(self, method: Method, path: str, parameters: type) -> Callable[[Work], Work]:
        def register(work: Work) -> Work:
            self.append(Operation(method, path, parameters, work))
            return work

        return register
