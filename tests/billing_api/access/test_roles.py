"""Who may do what, route by route: the table that is reviewed. A route that is not in it fails until it is.

- open      anybody
- signed    any client that can sign; the service checks it
- looks     every customer, staff included, and an administrator who looks at what the customer sees
- customer  every customer, staff included, and nobody in their place
- support   support and administrators
- admin     administrators alone

Behind a route of staff: the scope with which service accounts may, too. Where there is none, none may.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from billing_api.access.permissions import StaffScope
from db.models.identity import Role
from tests.billing_api.conftest import Client
from tests.support.people import Desk, Headers
from tests.support.programs import ACCOUNTS, a_service_account, token_for

ROUTES: Final = """
open      GET     /.well-known/jwks.json
open      POST    /api/v1/auth/email/confirm
open      POST    /api/v1/auth/email/undo
open      POST    /api/v1/auth/login
open      POST    /api/v1/auth/logout
open      POST    /api/v1/auth/mfa
open      POST    /api/v1/auth/password/forgot
open      POST    /api/v1/auth/password/reset
open      POST    /api/v1/auth/refresh
open      POST    /api/v1/auth/register
open      POST    /api/v1/auth/verify-email
open      GET     /api/v1/config
open      POST    /api/v1/nextpanel/activate
open      POST    /api/v1/oauth/token
open      GET     /api/v1/plans
open      GET     /checkout/return
open      GET     /confirm-email
open      POST    /confirm-email
open      GET     /health/dependencies
open      GET     /health/live
open      GET     /health/ready
open      GET     /licenses/{license_id:uuid}
open      GET     /problems/{code:str}
open      GET     /reset-password
open      POST    /reset-password
open      GET     /schema
open      GET     /schema/assets/{version:str}/{name:str}
open      GET     /schema/openapi.json
open      GET     /schema/swagger
open      GET     /schema/{path:str}
open      GET     /undo-email-change
open      POST    /undo-email-change
open      GET     /verify-email
open      POST    /verify-email

signed    POST    /api/v1/billing/usage
signed    POST    /api/v1/webhooks/stripe

customer  DELETE  /api/v1/api-keys/{api_key_id:uuid}
customer  POST    /api/v1/api-keys/{api_key_id:uuid}/rotate
customer  POST    /api/v1/auth/step-up
customer  POST    /api/v1/checkout/sessions
customer  GET     /api/v1/checkout/sessions/{session_id:uuid}
looks     GET     /api/v1/invoices
looks     GET     /api/v1/invoices/{invoice_id:uuid}
looks     GET     /api/v1/invoices/{invoice_id:uuid}/pdf
looks     GET     /api/v1/balance
looks     GET     /api/v1/licenses
looks     GET     /api/v1/licenses/{license_id:uuid}
customer  PATCH   /api/v1/licenses/{license_id:uuid}
customer  POST    /api/v1/licenses/{license_id:uuid}/activation-tokens
customer  GET     /api/v1/licenses/{license_id:uuid}/api-keys
customer  POST    /api/v1/licenses/{license_id:uuid}/api-keys
looks     GET     /api/v1/licenses/{license_id:uuid}/events
customer  POST    /api/v1/licenses/{license_id:uuid}/reset-fingerprint
customer  POST    /api/v1/licenses/{license_id:uuid}/reveal-key
customer  POST    /api/v1/licenses/{license_id:uuid}/rotate-key
looks     GET     /api/v1/licenses/{license_id:uuid}/usage
looks     GET     /api/v1/licenses/{license_id:uuid}/usage/history
looks     GET     /api/v1/me
customer  DELETE  /api/v1/me
customer  PATCH   /api/v1/me
looks     GET     /api/v1/me/billing-details
customer  PUT     /api/v1/me/billing-details
customer  POST    /api/v1/me/email
looks     GET     /api/v1/me/events
customer  GET     /api/v1/me/export
customer  GET     /api/v1/me/mfa
customer  POST    /api/v1/me/mfa/recovery-codes
customer  DELETE  /api/v1/me/mfa/totp
customer  POST    /api/v1/me/mfa/totp
customer  POST    /api/v1/me/mfa/totp/confirm
customer  GET     /api/v1/me/oauth-clients
customer  POST    /api/v1/me/oauth-clients
customer  DELETE  /api/v1/me/oauth-clients/{client_id:uuid}
customer  POST    /api/v1/me/oauth-clients/{client_id:uuid}/rotate
customer  POST    /api/v1/me/password
customer  GET     /api/v1/me/sessions
customer  POST    /api/v1/me/sessions/revoke-others
customer  DELETE  /api/v1/me/sessions/{session_id:uuid}
looks     GET     /api/v1/overview
looks     GET     /api/v1/payment-methods
customer  POST    /api/v1/payment-methods/setup
customer  GET     /api/v1/payment-methods/setup/{setup_id:str}
customer  DELETE  /api/v1/payment-methods/{method_id:str}
customer  POST    /api/v1/payment-methods/{method_id:str}/default
looks     GET     /api/v1/payments
looks     GET     /api/v1/payments/{payment_id:uuid}
looks     GET     /api/v1/subscriptions
looks     GET     /api/v1/subscriptions/{subscription_id:uuid}
customer  POST    /api/v1/subscriptions/{subscription_id:uuid}/cancel
customer  POST    /api/v1/subscriptions/{subscription_id:uuid}/change
customer  POST    /api/v1/subscriptions/{subscription_id:uuid}/pay
customer  POST    /api/v1/subscriptions/{subscription_id:uuid}/preview-cancel
customer  POST    /api/v1/subscriptions/{subscription_id:uuid}/preview-change
customer  POST    /api/v1/subscriptions/{subscription_id:uuid}/resume

admin     GET     /api/v1/admin/audit  audit:read
support   GET     /api/v1/admin/jobs  operations:read
admin     POST    /api/v1/admin/jobs/{job_id:int}/retry  operations:write
support   GET     /api/v1/admin/licenses  licenses:read
admin     POST    /api/v1/admin/licenses  licenses:write
support   POST    /api/v1/admin/licenses/find-by-key  licenses:read
support   GET     /api/v1/admin/licenses/{license_id:uuid}  licenses:read
admin     PATCH   /api/v1/admin/licenses/{license_id:uuid}  licenses:write
support   POST    /api/v1/admin/licenses/{license_id:uuid}/explain  licenses:read
admin     POST    /api/v1/admin/licenses/{license_id:uuid}/extend  licenses:write
admin     POST    /api/v1/admin/licenses/{license_id:uuid}/limits  licenses:write
admin     POST    /api/v1/admin/licenses/{license_id:uuid}/reset-fingerprint  licenses:write
admin     POST    /api/v1/admin/licenses/{license_id:uuid}/resume  licenses:write
admin     POST    /api/v1/admin/licenses/{license_id:uuid}/retry-provisioning  licenses:write
admin     POST    /api/v1/admin/licenses/{license_id:uuid}/suspend  licenses:write
support   GET     /api/v1/admin/licenses/{license_id:uuid}/usage  licenses:read
support   GET     /api/v1/admin/licenses/{license_id:uuid}/usage/history  licenses:read
admin     GET     /api/v1/admin/platform-keys
admin     POST    /api/v1/admin/platform-keys
admin     DELETE  /api/v1/admin/platform-keys/{api_key_id:uuid}
admin     PATCH   /api/v1/admin/platform-keys/{api_key_id:uuid}
admin     POST    /api/v1/admin/platform-keys/{api_key_id:uuid}/rotate
support   GET     /api/v1/admin/reconciliation  operations:read
support   GET     /api/v1/admin/reconciliation/{run_id:uuid}  operations:read
support   GET     /api/v1/admin/search  customers:read
admin     GET     /api/v1/admin/service-accounts
admin     POST    /api/v1/admin/service-accounts
admin     DELETE  /api/v1/admin/service-accounts/{service_account_id:uuid}
admin     PATCH   /api/v1/admin/service-accounts/{service_account_id:uuid}
admin     POST    /api/v1/admin/service-accounts/{service_account_id:uuid}/rotate
support   GET     /api/v1/admin/disputes  billing:read
admin     POST    /api/v1/admin/disputes/{dispute_id:uuid}/close
admin     POST    /api/v1/admin/disputes/{dispute_id:uuid}/evidence
support   GET     /api/v1/admin/subscriptions  billing:read
support   GET     /api/v1/admin/subscriptions/{subscription_id:uuid}  billing:read
admin     POST    /api/v1/admin/subscriptions/{subscription_id:uuid}/cancel
support   GET     /api/v1/admin/invoices  billing:read
support   GET     /api/v1/admin/invoices/{invoice_id:uuid}  billing:read
admin     POST    /api/v1/admin/invoices/{invoice_id:uuid}/credit-note
admin     POST    /api/v1/admin/invoices/{invoice_id:uuid}/mark-uncollectible
admin     POST    /api/v1/admin/invoices/{invoice_id:uuid}/retry
admin     POST    /api/v1/admin/invoices/{invoice_id:uuid}/void
admin     POST    /api/v1/admin/users/{user_id:uuid}/balance
support   GET     /api/v1/admin/payments  billing:read
support   GET     /api/v1/admin/payments/{payment_id:uuid}  billing:read
admin     POST    /api/v1/admin/payments/{payment_id:uuid}/refund
support   GET     /api/v1/admin/coupons  billing:read
admin     POST    /api/v1/admin/coupons
admin     DELETE  /api/v1/admin/coupons/{coupon_id:str}
support   GET     /api/v1/admin/promotion-codes  billing:read
admin     POST    /api/v1/admin/promotion-codes
admin     PATCH   /api/v1/admin/promotion-codes/{promotion_code_id:str}
support   GET     /api/v1/admin/plans  billing:read
support   GET     /api/v1/admin/plans/{plan_id:uuid}  billing:read
admin     PATCH   /api/v1/admin/plans/{plan_id:uuid}
admin     POST    /api/v1/admin/plans
admin     POST    /api/v1/admin/plans/{plan_id:uuid}/retire
support   GET     /api/v1/admin/settings/billing  billing:read
admin     PUT     /api/v1/admin/settings/billing
support   GET     /api/v1/admin/users  customers:read
support   GET     /api/v1/admin/users/{user_id:uuid}  customers:read
admin     POST    /api/v1/admin/users/{user_id:uuid}/impersonate
support   GET     /api/v1/admin/users/{user_id:uuid}/everything  customers:read
support   GET     /api/v1/admin/users/{user_id:uuid}/notes
support   POST    /api/v1/admin/users/{user_id:uuid}/notes
support   DELETE  /api/v1/admin/users/{user_id:uuid}/notes/{note_id:uuid}
support   GET     /api/v1/admin/users/{user_id:uuid}/notes/{note_id:uuid}
support   PATCH   /api/v1/admin/users/{user_id:uuid}/notes/{note_id:uuid}
admin     POST    /api/v1/admin/users/{user_id:uuid}/resume
admin     POST    /api/v1/admin/users/{user_id:uuid}/role
admin     POST    /api/v1/admin/users/{user_id:uuid}/suspend
support   GET     /api/v1/admin/webhook-events  operations:read
support   GET     /api/v1/admin/webhook-events/{event_id:uuid}  operations:read
admin     POST    /api/v1/admin/webhook-events/{event_id:uuid}/replay  operations:write
"""

ALLOWED: Final = {
    "looks": {"customer", "support", "admin", "impersonator"},
    "customer": {"customer", "support", "admin"},
    "support": {"support", "admin"},
    "admin": {"admin"},
}
CALLERS: Final = ("stranger", "customer", "support", "admin", "impersonator")


class Row(NamedTuple):
    who: str
    method: str
    path: str
    scope: str | None = None


TABLE: Final = [Row(*line.split()) for line in ROUTES.splitlines() if line]


def handlers(app: Litestar) -> Iterator[tuple[str, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                yield from ((f"{method} {route.path}", handler) for method in handler.http_methods - {"OPTIONS"})


def test_every_route_is_in_the_table_and_nothing_else_is(app: Litestar) -> None:
    found = {name for name, _ in handlers(app)}
    listed = {f"{row.method} {row.path}" for row in TABLE}
    assert (found - listed, listed - found) == (set(), set())
    assert len(listed) == len(TABLE)


@pytest.fixture
async def callers(client: Client, desk: Desk) -> dict[str, Headers]:
    admin, customer = await desk.staff(), await desk.a_customer()
    path = f"/api/v1/admin/users/{desk.user_of(customer)}/impersonate"
    token = (await client.post(path, json={"reason": "x"}, headers=admin)).json()["access_token"]
    return {
        "stranger": {},
        "customer": customer,
        "support": await desk.staff(Role.SUPPORT),
        "admin": admin,
        "impersonator": {"Authorization": f"Bearer {token}"},
    }


def concrete(path: str) -> str:
    """The path with ids that do not exist."""
    return "/".join("0" * 32 if ":uuid}" in part else "1" if ":int}" in part else part for part in path.split("/"))


async def test_every_caller_at_every_route(client: Client, callers: dict[str, Headers]) -> None:
    for row in TABLE:
        if row.who in {"open", "signed"}:
            continue
        for who in CALLERS:
            answer = await client.request(row.method, concrete(row.path), json={}, headers=callers[who])
            refused = {401, 403} if who not in ALLOWED[row.who] else set()
            assert (answer.status_code in {401, 403}) == bool(refused), (row, who, answer.text)
            if refused:
                assert answer.json()["code"] == ("unauthenticated" if who == "stranger" else "forbidden"), (row, who)


async def test_every_service_account_at_every_route(client: Client, desk: Desk) -> None:
    """Of each scope alone, of all scopes together, and of none: its only one was taken away."""
    admin = await desk.staff()
    sets = [*(frozenset({scope}) for scope in StaffScope), frozenset(StaffScope), frozenset[StaffScope]()]
    accounts: dict[frozenset[str], Headers] = {}
    for scopes in sets:
        account = await a_service_account(client, admin, *scopes or {"audit:read"}, name=" ".join(scopes) or "none")
        accounts[scopes] = await token_for(client, account)
        if not scopes:
            order = {"scopes": ["licenses:read"]}
            await client.patch(f"{ACCOUNTS}/{account['id']}", json=order, headers=admin)
    for row in TABLE:
        if row.who in {"open", "signed"}:
            continue
        for having, headers in accounts.items():
            answer = await client.request(row.method, concrete(row.path), json={}, headers=headers)
            if row.scope in having:
                assert answer.status_code not in {401, 403}, (row, having, answer.text)
                continue
            code = "forbidden" if row.scope is None else "insufficient_scope"
            assert (answer.status_code, answer.json()["code"]) == (403, code), (
                f"{row} and {having}: name the scope in ROUTES, or give the route a permission that no scope has"
            )
            if row.scope is not None:
                assert f'scope="{row.scope}"' in answer.headers["www-authenticate"]
    assert set(StaffScope) - {row.scope for row in TABLE} == set(), "a scope that opens nothing"
    assert {row.who for row in TABLE if row.scope is not None} <= {"support", "admin"}


async def test_what_is_open_or_signed_asks_nobody_to_sign_in(client: Client) -> None:
    """Without a token, or with an expired one."""
    for row in TABLE:
        if row.who == "open":
            for headers in ({}, {"Authorization": "Bearer worn.out.token"}):
                answer = await client.request(row.method, concrete(row.path), json={}, headers=headers)
                assert answer.status_code != 403, row
                if answer.status_code == 401:
                    assert "cookie" in answer.json()["detail"], row
