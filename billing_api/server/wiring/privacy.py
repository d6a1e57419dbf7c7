"""Wiring of privacy: export and deletion of accounts."""

from dataclasses import dataclass

from billing_api.identity.credentials.password_check import PasswordCheck
from billing_api.notifications.mails.service import Mails
from billing_api.privacy.service import AccountDeletion, DataExport
from billing_api.server.wiring.infrastructure import Infrastructure


@dataclass(frozen=True)
class PrivacyServices:
    account_deletion: AccountDeletion
    data_export: DataExport


def privacy(on: Infrastructure, check: PasswordCheck) -> PrivacyServices:
    mails = Mails(on.settings.secrets)
    return PrivacyServices(
        account_deletion=AccountDeletion(on.database, liveness=on.liveness, check=check, mails=mails, clock=on.clock),
        data_export=DataExport(on.database, on.clock),
    )
