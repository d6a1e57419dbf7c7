"""Wiring of identity: accounts, sign-in, sessions, second factors and OAuth clients."""

from dataclasses import dataclass

from billing_api.identity.accounts.registrations import Registrations
from billing_api.identity.accounts.service import AccountService
from billing_api.identity.credentials.email_changes import EmailChanges
from billing_api.identity.credentials.password_check import PasswordCheck
from billing_api.identity.credentials.repository import close_email_changes
from billing_api.identity.credentials.reset_links import ResetLinks
from billing_api.identity.credentials.service import CredentialService
from billing_api.identity.login_throttle.service import GuessCounter
from billing_api.identity.oauth.service import ClientTokens, OAuthClientService
from billing_api.identity.oauth.service_accounts import ServiceAccountAdministration, ServiceAccountTokens
from billing_api.identity.second_factor.service import SecondFactorService
from billing_api.identity.sessions.service import SessionService
from billing_api.identity.sessions.sign_in import SignIns
from billing_api.identity.step_up.service import StepUpService
from billing_api.identity.users.service import AccountEvents, UserAdministration
from billing_api.notifications.mails.service import Mails
from billing_api.server.wiring.infrastructure import Infrastructure


@dataclass(frozen=True)
class IdentityServices:
    accounts: AccountService
    registrations: Registrations
    credentials: CredentialService
    reset_links: ResetLinks
    email_changes: EmailChanges
    second_factor: SecondFactorService
    step_ups: StepUpService
    oauth_clients: OAuthClientService
    client_tokens: ClientTokens
    service_accounts: ServiceAccountAdministration
    service_account_tokens: ServiceAccountTokens
    sessions: SessionService
    user_administration: UserAdministration
    account_events: AccountEvents


def password_check(on: Infrastructure, sign_ins: SignIns) -> PasswordCheck:
    """One for all services that ask for a password, so that guesses are counted together."""
    return PasswordCheck(
        on.database,
        liveness=on.liveness,
        passwords=on.passwords,
        counter=GuessCounter(on.settings.secrets.index, on.clock),
        devices=sign_ins.devices,
    )


def identity(on: Infrastructure, sign_ins: SignIns, check: PasswordCheck) -> IdentityServices:
    database, liveness, tokens, passwords = on.database, on.liveness, on.tokens, on.passwords
    secrets, clock, mails = on.settings.secrets, on.clock, Mails(on.settings.secrets)
    service_account_tokens = ServiceAccountTokens(database, tokens=tokens, secrets=secrets, clock=clock)
    reset_links = ResetLinks(database, mails, secrets, clock)
    return IdentityServices(
        accounts=AccountService(
            database, on.system_reads, liveness=liveness, check=check, sign_ins=sign_ins, secrets=secrets, clock=clock
        ),
        registrations=Registrations(database, liveness=liveness, passwords=passwords, mails=mails, clock=clock),
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
        second_factor=SecondFactorService(
            database, liveness=liveness, secrets=secrets, clock=clock, when_enabled=close_email_changes
        ),
        step_ups=StepUpService(database, liveness=liveness, check=check, tokens=tokens, secrets=secrets, clock=clock),
        oauth_clients=OAuthClientService(database, on.reads, secrets, clock),
        client_tokens=ClientTokens(
            database, tokens=tokens, service_accounts=service_account_tokens, secrets=secrets, clock=clock
        ),
        service_accounts=ServiceAccountAdministration(database, secrets, clock),
        service_account_tokens=service_account_tokens,
        sessions=SessionService(database, on.reads, liveness, clock),
        user_administration=UserAdministration(database, liveness, tokens, clock),
        account_events=AccountEvents(database),
    )
