"""Portal configuration repository: what the tables say of it."""

from typing import Final

from sqlalchemy import select

from db.models.licensing import Plan
from db.reads import Statement

CURRENCIES: Final = Statement(select(Plan.currency).where(Plan.is_active).distinct().order_by(Plan.currency))
"""Of the plans on sale."""
