"""Staff reasons: why a member of staff did something, for staff, and the message about it, for the customer.

The reason may name a suspicion, a third person or a colleague, so no customer ever reads it. What the customer is to
read is written on purpose, as the message. Both are in the audit trail.
"""

from typing import NamedTuple


class StaffReason(NamedTuple):
    reason: str | None
    message: str | None = None

    @property
    def detail(self) -> dict[str, str]:
        """For the audit trail: what was given. A customer's view of the trail leaves `reason` out."""
        return {name: text for name, text in self._asdict().items() if text is not None}
