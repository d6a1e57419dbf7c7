"""Access revocation: ends everything that gives access to an account, when its owner takes it over or back.

That is when the owner sets a password with a mailed link, undoes a change of address, or proves the address for the
first time.

Nobody can tell what an intruder prepared from what the owner made, or when an intrusion began. So all of it ends:
sessions, the second factor with its recovery codes, sign-ins that wait for their factor, OAuth clients, links to set a
password, pending changes of address, unused activation tokens. The owner sets up again what is still wanted.

API keys of panels stay: a key gives access to one license for one panel and reads nothing of the account. The owner
gets a mail when a key is made, and can revoke it. Unused activation tokens end, so an intruder's make no new key.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from billing_api.identity.credentials import repository
from billing_api.identity.oauth import repository as oauth_clients
from billing_api.identity.second_factor import repository as second_factors
from db.unit_of_work import SystemTransaction


class RevokedAccess(msgspec.Struct, frozen=True):
    """What was ended."""

    sessions_ended: int
    clients_revoked: int = 0
    second_factor_removed: bool = False
    activation_tokens_ended: int = 0

    def audit_facts(self) -> dict[str, int | bool]:
        """For the audit trail: the sessions always, the rest where something ended."""
        rest = {
            "clients_revoked": self.clients_revoked,
            "second_factor_removed": self.second_factor_removed,
            "activation_tokens_ended": self.activation_tokens_ended,
        }
        return {"sessions_ended": self.sessions_ended} | {name: value for name, value in rest.items() if value}

    def mail_text(self) -> str:
        """For the mail to the owner: what has to be set up again."""
        ended = []
        if self.second_factor_removed:
            ended.append("the authenticator app and its recovery codes")
        if self.clients_revoked:
            ended.append(f"OAuth clients ({self.clients_revoked})")
        if self.activation_tokens_ended:
            ended.append(f"activation tokens ({self.activation_tokens_ended})")
        return " and ".join(ended)


async def revoke_all_access(
    tx: SystemTransaction, user_id: UUID, now: datetime, *, also_undoing: bool = False
) -> RevokedAccess:
    """The caller has locked the user, and fences the sessions afterwards (`SessionRevocation.fence`).

    Links that undo a change of address stay, because an owner whose address was changed needs one to come back. With
    `also_undoing` they end too.
    """
    had_factor = await second_factors.remove_factor(tx, user_id)
    await second_factors.end_challenges(tx, user_id)
    clients = await oauth_clients.revoke_all(tx, user_id, now)
    await repository.end_reset_tokens(tx, user_id, now)
    await repository.close_email_changes(tx, user_id, now, also_confirmed=also_undoing)
    tokens = await repository.end_activation_tokens(tx, user_id, now)
    sessions = await repository.end_sessions(tx, user_id, now)
    return RevokedAccess(
        sessions_ended=sessions,
        clients_revoked=clients,
        second_factor_removed=had_factor,
        activation_tokens_ended=tokens,
    )
