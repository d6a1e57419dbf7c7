"""A NextPanel: the control panel that a license is for, as far as billing calls it.

    python -m devstack.simulators.nextpanel --port 9000 --data DIR --jwt-secret SECRET

It is strict where a partner may be: a call without a valid token or an idempotency key is refused, and so is a field
that it does not know. It makes *exactly once* visible: a second provisioning under another key is a 409 that names the
account there is, and a repeated one is the stored answer. `/_sim/accounts` tells how often each account was called
about and how often anything was made.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import jwt
import msgspec
from jwt.types import Options
from litestar import Request, Response, get, post
from litestar.exceptions import HTTPException
from litestar.types import ControllerRouterHandler

from core.clock import unix_time
from core.ids import new_id
from core.settings import process_environment
from devstack.simulators import problems
from devstack.simulators.asgi import Application
from devstack.simulators.journal import Journal
from devstack.simulators.problems import Problem
from devstack.simulators.serving import HOST, arguments, serve
from devstack.simulators.stand_in import stand_in

ISSUER: Final = "nextpanel-billing"
AUDIENCE: Final = "nextpanel"
PREFIX: Final = "/api/v1/nextpanel"

Status = Literal["active", "suspended", "terminated"]
AnyRequest = Request[Any, Any, Any]


class Provision(msgspec.Struct, forbid_unknown_fields=True):
    license_id: str
    user_email: str
    plan: str
    features: dict[str, Any] | list[str]
    limits: dict[str, int | None] | None = None


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """Suspend, resume and terminate name a license; a reason is for the panel's own log."""

    license_id: str
    reason: str | None = None


class ChangePlan(msgspec.Struct, forbid_unknown_fields=True):
    license_id: str
    plan: str
    features: dict[str, Any] | list[str] | None = None
    limits: dict[str, int | None] | None = None


class Account(msgspec.Struct):
    license_id: str
    nextpanel_account_id: str
    user_email: str
    plan: str
    features: dict[str, Any] | list[str]
    limits: dict[str, int | None] | None = None
    status: Status = "active"
    effects: int = 1
    """How often provisioning did something: once, or billing is wrong."""
    calls: int = 1
    """How many calls were about it, replays and refusals included."""


class Answered(msgspec.Struct):
    """What was said to an idempotency key."""

    fingerprint: str
    license_id: str
    status: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    status: int
    body: dict[str, Any]


class Panel:
    """The accounts, and every answer ever given under a key."""

    def __init__(self, journal: Journal, login_base: str) -> None:
        self._journal = journal
        self._login_base = login_base
        self.accounts = journal.collection("accounts", Account)
        self._answers = journal.collection("answers", Answered)

    def once(self, key: str, fingerprint: str, license_id: str, work: Callable[[], Outcome]) -> tuple[Outcome, bool]:
        """Do the work for a new key, repeat the answer for a known one. The effect and its key commit together."""
        with self._journal.transaction():
            self._count_call(license_id)
            known = self._answers.get(key)
            if known and known.fingerprint == fingerprint:
                return Outcome(known.status, known.body), True
            if known:
                raise Problem(422, "idempotency_mismatch", "This Idempotency-Key was used for another request")
            outcome = work()
            self._answers.put(key, Answered(fingerprint, license_id, outcome.status, outcome.body))
            return outcome, False

    def provision(self, order: Provision) -> Outcome:
        known = self.accounts.get(order.license_id)
        if known and known.status != "terminated":  # what was terminated makes room for an account that is new
            refusal = Problem(
                409,
                "already_provisioned",
                "This license has an account",
                nextpanel_account_id=known.nextpanel_account_id,
                account_status=known.status,
            )
            return Outcome(refusal.status, refusal.body)
        account = Account(
            license_id=order.license_id,
            nextpanel_account_id=str(new_id()),
            user_email=order.user_email,
            plan=order.plan,
            features=order.features,
            limits=order.limits,
        )
        self.accounts.put(account.license_id, account)
        login_url = f"{self._login_base}/login/{account.nextpanel_account_id}"
        return Outcome(201, {"nextpanel_account_id": account.nextpanel_account_id, "login_url": login_url})

    def move(self, license_id: str, status: Status) -> Outcome:
        account = self._account(license_id)
        if account.status == "terminated" and status != "terminated":
            raise Problem(409, "terminated", "A terminated account does not come back")
        account.status = status
        return self._changed(account)

    def change_plan(self, change: ChangePlan) -> Outcome:
        account = self._account(change.license_id)
        if account.status == "terminated":
            raise Problem(409, "terminated", "A terminated account has no plan")
        account.plan = change.plan
        account.features = account.features if change.features is None else change.features
        account.limits = account.limits if change.limits is None else change.limits
        return self._changed(account)

    def _account(self, license_id: str) -> Account:
        account = self.accounts.get(license_id)
        if account is None:
            raise Problem(404, "unknown_license", "No account was provisioned for this license")
        return account

    def _changed(self, account: Account) -> Outcome:
        self.accounts.put(account.license_id, account)
        return Outcome(200, {"nextpanel_account_id": account.nextpanel_account_id, "status": account.status})

    def _count_call(self, license_id: str) -> None:
        account = self.accounts.get(license_id)
        if account:
            account.calls += 1
            self.accounts.put(license_id, account)


def application(journal: Journal, *, jwt_secret: str, port: int) -> Application:
    panel = Panel(journal, f"http://{HOST}:{port}")
    return stand_in(
        [*_billing_routes(panel, jwt_secret), *_sim_routes(panel)],
        default_error=problems.default_problem,
        handlers={Problem: problems.of_problem, HTTPException: problems.of_http_exception},
    )


def _billing_routes(panel: Panel, jwt_secret: str) -> list[ControllerRouterHandler]:
    async def handle(request: AnyRequest, kind: type[Any], work: Callable[[Any], Outcome]) -> Response[dict[str, Any]]:
        body = await request.body()
        _authenticate(request, jwt_secret)
        key = request.headers.get("idempotency-key")
        if not key:
            raise Problem(400, "idempotency_key_required", "Send an Idempotency-Key")
        order = problems.decode(body, kind)
        fingerprint = hashlib.sha256(request.url.path.encode() + b"\n" + body).hexdigest()
        outcome, replayed = panel.once(key, fingerprint, order.license_id, lambda: work(order))
        headers = {"Idempotent-Replayed": "true"} if replayed else {}
        media_type = problems.MEDIA_TYPE if outcome.status >= 400 else "application/json"
        return Response(outcome.body, status_code=outcome.status, headers=headers, media_type=media_type)

    @post(f"{PREFIX}/provision")
    async def provision(request: AnyRequest) -> Response[dict[str, Any]]:
        return await handle(request, Provision, panel.provision)

    @post(f"{PREFIX}/suspend")
    async def suspend(request: AnyRequest) -> Response[dict[str, Any]]:
        return await handle(request, Change, lambda change: panel.move(change.license_id, "suspended"))

    @post(f"{PREFIX}/resume")
    async def resume(request: AnyRequest) -> Response[dict[str, Any]]:
        return await handle(request, Change, lambda change: panel.move(change.license_id, "active"))

    @post(f"{PREFIX}/terminate")
    async def terminate(request: AnyRequest) -> Response[dict[str, Any]]:
        return await handle(request, Change, lambda change: panel.move(change.license_id, "terminated"))

    @post(f"{PREFIX}/change-plan")
    async def change_plan(request: AnyRequest) -> Response[dict[str, Any]]:
        return await handle(request, ChangePlan, panel.change_plan)

    return [provision, suspend, resume, terminate, change_plan]


def _sim_routes(panel: Panel) -> list[ControllerRouterHandler]:
    @get("/_sim/accounts")
    async def accounts() -> dict[str, list[Account]]:
        return {"items": panel.accounts.all()}

    @get("/login/{account_id:str}", media_type="text/html")
    async def login(account_id: str) -> str:
        known = next((one for one in panel.accounts.all() if one.nextpanel_account_id == account_id), None)
        if known is None:
            raise Problem(404, "unknown_account", "There is no such account")
        return f"<!doctype html><title>NextPanel</title><h1>NextPanel</h1><p>Account {account_id}, {known.status}."

    return [accounts, login]


def _authenticate(request: AnyRequest, secret: str) -> None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Problem(401, "token_required", "Send a bearer token")
    # The library would ask the machine's clock, which does not move along.
    required: Options = {"require": ["exp", "iss", "aud"], "verify_exp": False, "verify_iat": False}
    try:
        claims = jwt.decode(token, secret, algorithms=["HS256"], audience=AUDIENCE, issuer=ISSUER, options=required)
        if int(claims["exp"]) <= unix_time():
            raise jwt.ExpiredSignatureError("Signature has expired")
        if int(claims.get("iat", 0)) > unix_time():
            raise jwt.ImmatureSignatureError("The token is not yet valid (iat)")
    except ValueError as fault:
        raise Problem(401, "invalid_token", f"The token does not hold: {fault}") from fault
    except jwt.InvalidTokenError as fault:
        raise Problem(401, "invalid_token", f"The token does not hold: {fault}") from fault


def main() -> None:
    parser = arguments("devstack.simulators.nextpanel", "A NextPanel control panel.", port=9000)
    known = process_environment().get("NEXTPANEL_JWT_SECRET")
    told = "HS256 secret of the tokens that billing sends; else NEXTPANEL_JWT_SECRET"
    parser.add_argument("--jwt-secret", required=not known, default=known, help=told)
    chosen = parser.parse_args()
    journal = Journal(chosen.data / "nextpanel.sqlite3")
    serve(application(journal, jwt_secret=chosen.jwt_secret, port=chosen.port), chosen.port)


if __name__ == "__main__":
    main()
