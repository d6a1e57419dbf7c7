"""Jobs are data: small tagged structs that carry ids, written to the outbox in the transaction that causes them.

A job says what to look at, never what was true when it was written; its handler reads the present state. So a job may
be late, repeated, or lost as a hint, without harm, and a sweeper may perform it again.
"""

from typing import Any, Final, Literal
from uuid import UUID

import msgspec

Lane = Literal["projection", "partner"]
"""projection: bring Redis up to date, within milliseconds. partner: calls to other companies, with retries."""


class ProjectLicense(msgspec.Struct, frozen=True, tag="project_license"):
    """Written by a trigger on `licenses`; `retired_hash` (hex) where the key was rotated and its old hash must end."""

    license_id: UUID
    retired_hash: str | None = None


class ProjectUsage(msgspec.Struct, frozen=True, tag="project_usage"):
    """Written by a trigger on `license_usage`: totals that changed in one statement, by license and resource."""

    totals: tuple[tuple[UUID, str], ...]


class ProjectApiKey(msgspec.Struct, frozen=True, tag="project_api_key"):
    """Written by a trigger on `api_keys`."""

    api_key_id: UUID


class ProcessWebhook(msgspec.Struct, frozen=True, tag="process_webhook"):
    webhook_event_id: UUID


class Provision(msgspec.Struct, frozen=True, tag="provision"):
    """Give the license an account on NextPanel."""

    license_id: UUID


class AlignAccount(msgspec.Struct, frozen=True, tag="align_account"):
    """Make the NextPanel account's state follow its license's: suspended, resumed, terminated or another plan."""

    license_id: UUID


class DeliverMail(msgspec.Struct, frozen=True, tag="deliver_mail"):
    mail_id: UUID


class MailResetLink(msgspec.Struct, frozen=True, tag="mail_reset_link"):
    """A visitor typed this address to reset a password; whether it has an account is found out by the handler.

    `occasion` names the mail, `email_sealed` (base64) is the address.
    """

    occasion: UUID
    email_sealed: str


class SendRefund(msgspec.Struct, frozen=True, tag="send_refund"):
    """Have Stripe carry out a refund that was ordered here."""

    refund_id: UUID


class EndSubscription(msgspec.Struct, frozen=True, tag="end_subscription"):
    """End the subscription at Stripe now, without a last invoice: it was decided to end here."""

    subscription_id: UUID


class AlignCollection(msgspec.Struct, frozen=True, tag="align_collection"):
    """Make the collection of the subscription's invoices follow its disputes: paused while one is open."""

    subscription_id: UUID


class ForgetCustomer(msgspec.Struct, frozen=True, tag="forget_customer"):
    """The user has deleted their account: Stripe must delete its customer."""

    user_id: UUID


class UpdateStripeCustomer(msgspec.Struct, frozen=True, tag="update_stripe_customer"):
    """The user's billing details have changed, or there is a new customer at Stripe: Stripe must show them."""

    user_id: UUID


ProjectionJob = ProjectLicense | ProjectUsage | ProjectApiKey
PartnerJob = (
    ProcessWebhook
    | Provision
    | AlignAccount
    | DeliverMail
    | MailResetLink
    | ForgetCustomer
    | UpdateStripeCustomer
    | SendRefund
    | EndSubscription
    | AlignCollection
)
Job = ProjectionJob | PartnerJob


class _Row(msgspec.Struct):
    """Lets msgspec cache the union's type information; for a bare union it would build it for every row, in 20 µs."""

    job: Job


_LANES: Final[dict[type[msgspec.Struct], Lane]] = {
    ProjectLicense: "projection",
    ProjectUsage: "projection",
    ProjectApiKey: "projection",
}

JobKind = Literal[
    "project_license",
    "project_usage",
    "project_api_key",
    "process_webhook",
    "provision",
    "align_account",
    "deliver_mail",
    "mail_reset_link",
    "forget_customer",
    "update_stripe_customer",
    "send_refund",
    "end_subscription",
    "align_collection",
]
"""The tags of all jobs, as staff name them in a filter."""


def lane(job: Job) -> Lane:
    return _LANES.get(type(job), "partner")


def lane_of_kind(kind: JobKind) -> Lane:
    return "projection" if kind in {job.__struct_config__.tag for job in _LANES} else "partner"


def to_row(job: Job) -> dict[str, Any]:
    """The job as a JSON object, its kind under `type`."""
    row: dict[str, Any] = msgspec.to_builtins(job)
    return row


def from_row(row: dict[str, Any]) -> Job:
    """The job again; msgspec.ValidationError where a newer release wrote a kind that this one does not know."""
    return msgspec.convert({"job": row}, _Row).job
