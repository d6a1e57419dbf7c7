"""Wiring of licensing: licenses, activation, API keys, leases and usage."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from billing_api.licensing.activation.service import ActivationAdministration, ActivationService
from billing_api.licensing.api_keys.platform_keys import PlatformKeyAdministration
from billing_api.licensing.api_keys.service import ApiKeyService
from billing_api.licensing.api_keys.signature_checker import SignatureChecker
from billing_api.licensing.leases.service import LeaseKeys
from billing_api.licensing.licenses.service import LicenseAdministration, LicenseService
from billing_api.licensing.usage.batch_recording import Recording
from billing_api.licensing.usage.holds import Holds
from billing_api.licensing.usage.service import UsageService
from billing_api.licensing.usage_history.service import UsageHistoryService
from billing_api.server.wiring.infrastructure import Infrastructure


@dataclass(frozen=True)
class LicensingServices:
    licenses: LicenseService
    license_administration: LicenseAdministration
    activations: ActivationService
    activation_administration: ActivationAdministration
    api_keys: ApiKeyService
    platform_keys: PlatformKeyAdministration
    signature_checker: SignatureChecker
    usage: UsageService
    usage_history: UsageHistoryService
    lease_keys: LeaseKeys


def licensing(on: Infrastructure, until_stopped: AsyncExitStack) -> LicensingServices:
    """At the end, reports in progress are waited for, then the last uses of API keys are written."""
    database, secrets, clock = on.database, on.settings.secrets, on.clock
    usage = UsageService(
        Recording(on.sessions, Holds(on.hot_store_writer), clock),
        secrets,
        clock,
        on.parts.add("usage_reports", idle=True),
    )
    checker = SignatureChecker(database, secrets, clock, proxies=on.settings.trusted_proxies)
    checker.last_use.part = on.parts.add("last_use", idle=True)
    until_stopped.push_async_callback(checker.last_use.written)
    until_stopped.push_async_callback(usage.close)
    return LicensingServices(
        licenses=LicenseService(database, on.reads, secrets, clock, on.hot_store_reader),
        license_administration=LicenseAdministration(database, secrets, clock, on.hot_store_reader),
        activations=ActivationService(database, secrets, clock),
        activation_administration=ActivationAdministration(database, clock),
        api_keys=ApiKeyService(database, on.reads, secrets, clock),
        platform_keys=PlatformKeyAdministration(database, secrets, clock),
        signature_checker=checker,
        usage=usage,
        usage_history=UsageHistoryService(database, on.reads, clock),
        lease_keys=LeaseKeys(database, clock),
    )
