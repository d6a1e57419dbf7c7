"""Webhook jobs: each asks billing_api to process one stored event."""

from typing import Final, Protocol
from uuid import UUID

from core.jobs import ProcessWebhook
from workers.jobs.dispatch import Work

WEBHOOK_CLAIM_SECONDS: Final = 30.0
"""Seconds. A job waits no longer than that for the lock on its customer, either."""


class EventProcessor(Protocol):
    async def process(self, webhook_event_id: UUID) -> None:
        """Processes one stored event; run again, it does nothing new."""


def webhook_work(processor: EventProcessor) -> Work[ProcessWebhook]:
    async def process(job: ProcessWebhook) -> None:
        await processor.process(job.webhook_event_id)

    return Work(ProcessWebhook, process, claim_seconds=WEBHOOK_CLAIM_SECONDS, at_once=6)
