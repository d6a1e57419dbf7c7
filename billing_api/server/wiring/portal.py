"""Wiring of the portal: what reads across domains."""

from dataclasses import dataclass

from billing_api.portal.config.service import PortalConfigService
from billing_api.portal.overview.service import OverviewService
from billing_api.server.wiring.infrastructure import Infrastructure


@dataclass(frozen=True)
class PortalServices:
    portal_config: PortalConfigService
    overviews: OverviewService


def portal(on: Infrastructure) -> PortalServices:
    settings = on.settings
    return PortalServices(
        portal_config=PortalConfigService(
            on.database, settings.portal, staff_second_factor=settings.staff_second_factor
        ),
        overviews=OverviewService(on.reads, on.clock),
    )
