"""Wiring of the portal: what reads across domains."""

from dataclasses import dataclass
from typing import Final

from billing_api.portal.config.service import PortalConfigService
from billing_api.portal.overview.service import OverviewService
from billing_api.server.wiring.infrastructure import Infrastructure
from billing_api.web.kept_answer import KeptAnswer

_CONFIG_IS_FRESH_FOR: Final = 300
"""Seconds for which caches need not ask again."""


@dataclass(frozen=True)
class PortalServices:
    portal_config: KeptAnswer
    overviews: OverviewService


def portal(on: Infrastructure) -> PortalServices:
    settings = on.settings
    config = PortalConfigService(on.system_reads, settings.portal, staff_second_factor=settings.staff_second_factor)
    return PortalServices(
        portal_config=KeptAnswer(config.read, cache_control=f"public, max-age={_CONFIG_IS_FRESH_FOR}"),
        overviews=OverviewService(on.reads, on.clock),
    )
