"""Stripe's refusals, as its error envelope has them. Each carries whether its effects are to be kept.

A refused parameter leaves nothing behind. A declined card does: the failed charge and the intent's last error are
facts, and the answer that reports them is an error all the same.
"""

from collections.abc import Mapping
from typing import Any, Final

DOCUMENTATION: Final = "https://stripe.com/docs/error-codes/"


class Refused(Exception):
    def __init__(self, status: int, message: str, *, keeps_effects: bool = False, **members: Any) -> None:
        super().__init__(message)
        self.status = status
        self.keeps_effects = keeps_effects
        self.error: dict[str, Any] = {"message": message, "type": "invalid_request_error"} | {
            name: value for name, value in members.items() if value is not None
        }
        if "code" in self.error:
            self.error["doc_url"] = DOCUMENTATION + str(self.error["code"]).replace("_", "-")


def invalid(message: str, param: str | None = None, code: str | None = None, **members: Any) -> Refused:
    return Refused(400, message, param=param, code=code, **members)


def no_such(kind: str, object_id: str, param: str | None) -> Refused:
    """A thing asked for by its address is a 404; one that a parameter names is a 400."""
    name = "PaymentMethod" if kind == "payment_method" else kind
    status = 404 if param is None else 400
    return Refused(status, f"No such {name}: '{object_id}'", param=param or "id", code="resource_missing")


def wrong_state(message: str, code: str, **members: Any) -> Refused:
    return Refused(400, message, code=code, **members)


def not_simulated(params: Mapping[str, Any], names: str) -> None:
    """Refuse what would change money or time and is not carried out here; to ignore it would be a lie."""
    for name in names.split():
        if params.get(name) not in (None, "", [], {}, False):
            raise invalid(f"This simulator does not carry out {name}.", param=name, code="parameter_not_simulated")


def envelope(status: int, *, kind: str = "api_error", message: str = "A fault set through /_sim") -> dict[str, Any]:
    """The body for a fault that names none."""
    return {"error": {"type": kind, "message": message} | ({"code": "rate_limit"} if status == 429 else {})}
