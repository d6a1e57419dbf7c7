"""Puts the parts of sign-in together: they share one check of passwords."""

from typing import TypedDict

from billing_api.access import TokenIssuer
from billing_api.accounts.service import AccountService
from billing_api.credentials.check import PasswordCheck
from billing_api.credentials.email_changes import EmailChanges
from billing_api.credentials.reset_links import ResetLinks
from billing_api.credentials.service import CredentialService
from billing_api.guesses.service import GuessCounter
from billing_api.mails.service import Mails
from billing_api.passwords import Passwords
from billing_api.privacy.service import AccountDeletion
from billing_api.sessions.liveness import Liveness
from billing_api.sign_ins import SignIns
from billing_api.step_up.service import StepUpService
from core.clock import Clock
from core.settings import Secrets
from db.unit_of_work import Database


class SignInServices(TypedDict):
    accounts: AccountService
    credentials: CredentialService
    reset_links: ResetLinks
    email_changes: EmailChanges
    step_ups: StepUpService
    account_deletion: AccountDeletion


def sign_in_services(
    database: Database,
    *,
    tokens: TokenIssuer,
    liveness: Liveness,
    passwords: Passwords,
    secrets: Secrets,
    clock: Clock,
) -> SignInServices:
    sign_ins, mails = SignIns(tokens, secrets, clock), Mails(secrets)
    check = PasswordCheck(database, passwords, GuessCounter(secrets.index, clock), sign_ins.devices)
    reset_links = ResetLinks(database, mails, secrets, clock)
    return SignInServices(
        accounts=AccountService(
            database,
            liveness=liveness,
            passwords=passwords,
            check=check,
            sign_ins=sign_ins,
            mails=mails,
            secrets=secrets,
            clock=clock,
        ),
        credentials=CredentialService(
            database,
            liveness=liveness,
            passwords=passwords,
            check=check,
            sign_ins=sign_ins,
            mails=mails,
            clock=clock,
        ),
        reset_links=reset_links,
        email_changes=EmailChanges(
            database, liveness=liveness, check=check, mails=mails, reset_links=reset_links, clock=clock
        ),
        account_deletion=AccountDeletion(database, liveness=liveness, check=check, mails=mails, clock=clock),
        step_ups=StepUpService(database, check=check, tokens=tokens, secrets=secrets, clock=clock),
    )
