"""Taking an account: ends whatever lets somebody into it.

Its owner has set a password by a mailed link, has undone a change of address, or has proved the address for the first
time.

Nobody can tell what an intruder prepared from what the owner made, nor when an intrusion began. So everything ends:
sessions, the second factor with its recovery codes, sign-ins that wait for their factor, OAuth clients, links to set a
password, changes of address that wait, activation tokens that no panel has used. The owner sets up anew what is still
wanted.

API keys of panels stay: they open one license for one panel and read nothing of the account. Their owner is told by
mail when one is made, and revokes it. But none is made any more of what an intruder got ready.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from billing_api.identity.credentials import repository
from billing_api.identity.oauth import repository as oauth_clients
from billing_api.identity.second_factor import repository as second_factors
from db.unit_of_work import SystemTransaction


class Ended(msgspec.Struct, frozen=True):
    """What there was."""

    sessions_ended: int
    clients_revoked: int = 0
    second_factor_removed: bool = False
    activation_tokens_ended: int = 0

    def facts(self) -> dict[str, int | bool]:
        """For the audit trail: sessions always, the rest where there was any."""
        rest = {
            "clients_revoked": self.clients_revoked,
            "second_factor_removed": self.second_factor_removed,
            "activation_tokens_ended": self.activation_tokens_ended,
        }
        return {"sessions_ended": self.sessions_ended} | {name: value for name, value in rest.items() if value}

    def in_words(self) -> str:
        """For the mail that tells of it: what has to be set up anew."""
        gone = []
        if self.second_factor_removed:
            gone.append("the authenticator app and its recovery codes")
        if self.clients_revoked:
            gone.append(f"OAuth clients ({self.clients_revoked})")
        if self.activation_tokens_ended:
            gone.append(f"activation tokens ({self.activation_tokens_ended})")
        return " and ".join(gone)


async def end_everything(tx: SystemTransaction, user_id: UUID, now: datetime, *, also_undoing: bool = False) -> Ended:
    """`user_id` is locked; who calls this fences the sessions (`ending.of`).

    Links that undo a change of address live on, for they are how an owner whose mailbox was changed comes back; with
    `also_undoing` they end too.
    """
    had_factor = await second_factors.remove_factor(tx, user_id)
    await second_factors.end_challenges(tx, user_id)
    clients = await oauth_clients.revoke_all(tx, user_id, now)
    await repository.end_reset_tokens(tx, user_id, now)
    await repository.close_email_changes(tx, user_id, now, also_confirmed=also_undoing)
    tokens = await repository.end_activation_tokens(tx, user_id, now)
    sessions = await repository.end_sessions(tx, user_id, now)
    return Ended(
        sessions_ended=sessions,
        clients_revoked=clients,
        second_factor_removed=had_factor,
        activation_tokens_ended=tokens,
    )
