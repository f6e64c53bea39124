"""What an account has set for itself in a region, by name; the values are JSON.

Invariant: one row for an account, a region and a name, and none while nothing was set. A request's transaction
sees the settings of its own region only.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import RegionSetting
from bakehouse.database.session import region_of


def get_setting(session: Session, account_id: str, name: str, default: Any) -> Any:
    """Return what the account has set in the request's region, or the default."""
    row = session.get(RegionSetting, (account_id, region_of(session), name))
    return default if row is None else row.value


def put_setting(session: Session, account_id: str, name: str, value: Any) -> None:
    """Set it in the request's region."""
    row = session.get(RegionSetting, (account_id, region_of(session), name))
    if row is None:
        session.add(RegionSetting(account_id=account_id, region=region_of(session), name=name, value=value))
    else:
        row.value = value
    session.flush()


def remove_setting(session: Session, account_id: str, name: str) -> None:
    """Make it the default again."""
    session.execute(
        sa.delete(RegionSetting).where(
            RegionSetting.account_id == account_id,
            RegionSetting.region == region_of(session),
            RegionSetting.name == name,
        )
    )
