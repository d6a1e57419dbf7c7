"""Data inventory: what each table holds about a user, which columns are exported, and what deletion does to its rows.

This list is what the export reads and what a deletion erases; a test walks all tables and all of their columns, and
fails where one is missing here. So a new column cannot be added without deciding about both.

`shown` names columns of the export. `withheld` says of the others why not. `user_id` is the user's own and is
left out without a word. `read_as`: the customer's own session wherever it may read these columns, so that row security
guards the export too; else the application, which adds the condition itself.
"""

import enum
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from core.licensing.plan import LIMITS


class Fate(enum.Enum):
    """Of a user's rows, when the account is deleted."""

    ERASED = "the rows are deleted"
    REDUCED = "the row stays, and what tells of a person is taken out of it"
    KEPT = "the rows stay: amounts, dates and ids, as the books need them"


class Holding(NamedTuple):
    table: str
    fate: Fate
    shown: str
    withheld: Mapping[str, str] = {}
    """Reason → columns."""
    read_as: Literal["customer", "system"] = "customer"
    found_by: Literal["id", "user_id", "license_id"] = "user_id"
    """The indexed column that leads to the user's rows."""
    order: str = "created_at id"


_SECRET: Final = "opens something, or is compared with what does"  # noqa: S105  a reason
_SPELLING: Final = "the address beside it, as it is compared"
_STAFFS_OWN: Final = "words of staff for staff; what the owner is told stands beside them"
_NOTES: Final = "staff's notes may name other people: given out by hand, on request (decision 0039)"
_LIMITS: Final = " ".join(LIMITS)
_PLAN: Final = "plan_id interval"

HOLDINGS: Final = (
    Holding(
        "users",
        Fate.REDUCED,
        "id email full_name company_name locale time_zone"
        " stripe_customer_id former_stripe_customer_ids role email_verified_at is_active"
        " deleted_at created_at updated_at",
        {_SECRET: "password_hash", _SPELLING: "email_key"},
        found_by="id",
    ),
    Holding(
        "sessions",
        Fate.ERASED,
        "id user_agent address authenticated_at created_at last_seen_at expires_at revoked_at",
        {_SECRET: "refresh_hash previous_hash", "says how a session is kept, not by whom": "rotated_at amr"},
    ),
    Holding(
        "totp_factors",
        Fate.ERASED,
        "started_at confirmed_at failures blocked_until",
        {_SECRET: "secret last_step"},
        read_as="system",
        order="started_at",
    ),
    Holding(
        "recovery_codes",
        Fate.ERASED,
        "created_at used_at",
        {_SECRET: "code_hash"},
        read_as="system",
        order="created_at code_hash",
    ),
    Holding(
        "sign_in_challenges",
        Fate.ERASED,
        "created_at expires_at used_at tries",
        {_SECRET: "token_hash password_mark"},
        read_as="system",
        order="created_at token_hash",
    ),
    Holding(
        "one_time_tokens",
        Fate.ERASED,
        "purpose created_at expires_at used_at",
        {_SECRET: "token_hash"},
        read_as="system",
        order="created_at token_hash",
    ),
    Holding(
        "registrations",
        Fate.ERASED,
        "email full_name company_name created_at",
        {_SECRET: "token_hash password_hash"},
        read_as="system",
        order="created_at token_hash",
    ),
    Holding(
        "email_changes",
        Fate.ERASED,
        "id old_email new_email created_at expires_at confirmed_at undo_until closed_at",
        {_SECRET: "confirm_hash undo_hash"},
        read_as="system",
    ),
    Holding(
        "mails",
        Fate.ERASED,
        "id recipient template created_at sent_at",
        {"may carry a link that opens something": "key parameters", _SPELLING: "recipient_key"},
        read_as="system",
    ),
    Holding(
        "oauth_clients",
        Fate.ERASED,
        "id name scopes previous_until revoked_at created_at",
        {_SECRET: "secret_hash previous_hash"},
    ),
    Holding(
        "api_keys",
        Fate.REDUCED,
        "id license_id key_id name permissions networks instance_id last_used_at last_used_address"
        " expires_at is_active previous_until created_at",
        {_SECRET: "key_hash secret previous_secret", "counts changes for Redis": "version"},
    ),
    Holding(
        "activation_tokens",
        Fate.ERASED,
        "license_id created_at expires_at used_at",
        {_SECRET: "token_hash"},
        order="created_at token_hash",
    ),
    Holding(
        "licenses",
        Fate.REDUCED,
        f"id label plan_id checkout_id license_type status status_message features {_LIMITS} fingerprint_policy"
        " fingerprint nextpanel_user_id nextpanel_login_url provisioning provisioning_error activation_date expiry_date"
        " grace_until auto_renew limit_overrides extended_until account_order key_hint created_at updated_at",
        {
            _SECRET: "license_key license_key_hash",
            "counts changes for Redis": "version account_generation",
            _STAFFS_OWN: "status_reason",
        },
    ),
    Holding(
        "license_suspensions",
        Fate.REDUCED,
        "id license_id cause since message ended_at",
        {_STAFFS_OWN: "reason"},
        order="since id",
    ),
    Holding(
        "leases",
        Fate.KEPT,
        "license_id version not_after signed_at",
        {_SECRET: "token", "names the key that signed": "kid"},
        order="license_id",
    ),
    Holding(
        "license_usage",
        Fate.KEPT,
        "license_id resource used events below_since corrected_at updated_at",
        {"counts changes for Redis": "version"},
        order="license_id resource",
    ),
    Holding(
        "usage_events",
        Fate.KEPT,
        "license_id resource action count used_after is_overage occurred_at created_at idempotency_key"
        " reservation_id",
        {"proves that a repeated report is the same": "body_hash", "numbers the events of a total": "seq"},
        found_by="license_id",
        order="license_id resource occurred_at seq",
    ),
    Holding(
        "overage_candidates",
        Fate.KEPT,
        "license_id noted_at",
        order="license_id",
    ),
    Holding(
        "billing_details",
        Fate.ERASED,
        "name company address tax_ids email created_at updated_at",
        order="user_id",
    ),
    Holding(
        "checkout_sessions",
        Fate.KEPT,
        f"id {_PLAN} status quantity currency promotion_code is_trial license_id refused_because stripe_session_id url"
        " created_at updated_at",
    ),
    Holding("trials", Fate.KEPT, "card_fingerprint checkout_id created_at", order="user_id"),
    Holding(
        "subscriptions",
        Fate.KEPT,
        f"id license_id stripe_subscription_id {_PLAN} status current_period_start current_period_end"
        " cancel_at_period_end quantity ends_at trial_ends_at stripe_price_id renewal_amount renewal_currency"
        " discount next_amount next_amount_for"
        " plan_paid_until pending_plan_id pending_interval pending_quantity pending_from pending_payment_url"
        " ended_at unknown_price_id renewal_told_for paused_for_dispute mirrored_at created_at updated_at",
    ),
    Holding(
        "license_subscriptions",
        Fate.KEPT,
        "subscription_id license_id position ends_with_period ended_at created_at",
        order="subscription_id position",
    ),
    Holding(
        "plan_changes",
        Fate.KEPT,
        f"id subscription_id {_PLAN} stripe_price_id keeps_price direction quantity end_license_ids proration_date"
        " created_at",
    ),
    Holding(
        "invoices",
        Fate.KEPT,
        "id stripe_invoice_id subscription_id number subtotal discount tax total balance_used amount_due amount_paid"
        " amount_remaining currency status lines credit_notes invoice_pdf_url payment_url created_at"
        " due_date paid_at first_failed_at next_attempt_at needs_owner",
    ),
    Holding(
        "payments",
        Fate.KEPT,
        "id created_at license_id invoice_id stripe_payment_intent_id stripe_charge_id amount refunded currency status"
        " failure_code failure_message payment_method description metadata",
    ),
    Holding(
        "refunds",
        Fate.REDUCED,
        "id payment_id payment_created_at license_id stripe_refund_id amount currency status reason failure created_at",
        {
            _STAFFS_OWN: "note actor_id",
            "says how the refund was sent and what followed": "origin effect effect_at undone_at sent_at"
            " send_generation",
        },
    ),
    Holding(
        "disputes",
        Fate.KEPT,
        "id payment_id payment_created_at license_id stripe_dispute_id amount currency reason status due_by"
        " has_evidence submissions effect effect_at closed_at created_at",
    ),
    Holding(
        "domains",
        Fate.KEPT,
        "id license_id domain_name registrar registrar_domain_id registration_date expiry_date auto_renew nameservers"
        " status created_at updated_at",
    ),
    Holding(
        "customer_note_versions",
        Fate.ERASED,
        "",
        {_NOTES: "note_id version author_id body written_at"},
    ),
    Holding(
        "customer_notes",
        Fate.ERASED,
        "",
        {_NOTES: "id author_id editor_id body is_pinned version deleted_at created_at updated_at"},
    ),
    Holding(
        "idempotency_keys",
        Fate.ERASED,
        "",
        {
            "earlier answers to the user, sealed, for they may hold secrets": "answer",
            "how a repeated request is known": "scope key body_hash status_code created_at",
        },
    ),
)  # fmt: skip

ELSEWHERE: Final[Mapping[str, str]] = {
    "audit_log": "shown as `audit_log`, by actor and target; append-only and sealed, so it stays; it names ids",
    "webhook_events": "copies of Stripe's objects, of which the rows above are made; reduced to their ids",
    "outbox": "jobs carry ids; an address that asked for a link lies sealed in its job, which goes after a week",
    "guess_counts": "keyed hashes of an account's address; those of the present one are erased",
}
"""Tables that lead to a user by something else than `user_id`."""
