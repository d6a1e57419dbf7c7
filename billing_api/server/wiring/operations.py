"""Wiring of operations: the audit trail, jobs, received webhooks, reconciliation, search."""

from dataclasses import dataclass

from billing_api.operations.audit.service import AuditTrail
from billing_api.operations.customers.everything.service import CustomerOverviews
from billing_api.operations.customers.explain.service import Explanations
from billing_api.operations.customers.notes.service import CustomerNotes
from billing_api.operations.jobs.service import JobAdministration
from billing_api.operations.reconciliation.service import ReconciliationReports
from billing_api.operations.search.service import SearchService
from billing_api.operations.webhooks.service import WebhookAdministration, WebhookReceiver
from billing_api.server.wiring.infrastructure import Infrastructure


@dataclass(frozen=True)
class OperationsServices:
    audit_trail: AuditTrail
    explanations: Explanations
    customer_overviews: CustomerOverviews
    customer_notes: CustomerNotes
    webhook_receiver: WebhookReceiver
    webhook_administration: WebhookAdministration
    job_administration: JobAdministration
    reconciliation_reports: ReconciliationReports
    search_service: SearchService


def operations(on: Infrastructure) -> OperationsServices:
    database = on.database
    return OperationsServices(
        audit_trail=AuditTrail(database, on.reads),
        explanations=Explanations(database, on.hot_store_reader, on.clock),
        customer_overviews=CustomerOverviews(database, on.clock),
        customer_notes=CustomerNotes(database, on.clock),
        webhook_receiver=WebhookReceiver(database, on.settings.stripe.webhook_secrets, on.clock),
        webhook_administration=WebhookAdministration(database),
        job_administration=JobAdministration(database, on.clock),
        reconciliation_reports=ReconciliationReports(database),
        search_service=SearchService(database, on.settings.secrets, on.clock),
    )
