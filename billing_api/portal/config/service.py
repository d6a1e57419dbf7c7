"""Portal configuration: the same for everybody, from settings and from the plans on sale."""

from billing_api.notifications.mails.subjects import LOCALES
from billing_api.portal.config import repository
from billing_api.portal.config.schemas import Features, PortalConfig, Seller
from core.portal_settings import PortalSettings
from db.reads import SystemReads


class PortalConfigService:
    def __init__(self, reads: SystemReads, settings: PortalSettings, *, staff_second_factor: bool) -> None:
        self._reads = reads
        self._settings = settings
        self._features = Features(
            registration=True,
            sign_in=["password"],
            second_factors=["totp"],
            staff_second_factor=staff_second_factor,
            oauth_clients=True,
            domains=False,  # domain names are not sold yet
        )

    async def read(self) -> PortalConfig:
        currencies = [row.currency for row in await self._reads.rows(repository.CURRENCIES)]
        return PortalConfig(
            stripe_publishable_key=self._settings.stripe_publishable_key,
            features=self._features,
            seller=Seller(self._settings.seller_name, self._settings.support_email),
            currencies=currencies,
            locales=list(LOCALES),
        )
