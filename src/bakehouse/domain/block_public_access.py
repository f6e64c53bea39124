"""Block public access: whether an account's images and snapshots may be shared with everybody, in a region.

Invariant: an account that has set nothing may not share anything new with everybody.
Source: EC2 User Guide, "Understand block public access for AMIs"; EBS User Guide, "Block public access for EBS
snapshots".
"""

import json

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import RegionSetting, Snapshot
from bakehouse.domain import region_settings

UNBLOCKED, BLOCK_NEW, BLOCK_ALL = "unblocked", "block-new-sharing", "block-all-sharing"
_IMAGES, _SNAPSHOTS = "image-block-public-access", "snapshot-block-public-access"


def image_state(session: Session, account_id: str) -> str:
    """``block-new-sharing`` or ``unblocked``."""
    return str(region_settings.get_setting(session, account_id, _IMAGES, BLOCK_NEW))


def set_image_state(session: Session, account_id: str, state: str) -> None:
    """Block or unblock new public images; those that are public stay so."""
    region_settings.put_setting(session, account_id, _IMAGES, state)


def blocks_images(session: Session, account_id: str) -> bool:
    """Whether no image of the account may become public now."""
    return image_state(session, account_id) != UNBLOCKED


def snapshot_state(session: Session, account_id: str) -> str:
    """``block-all-sharing``, ``block-new-sharing`` or ``unblocked``."""
    return str(region_settings.get_setting(session, account_id, _SNAPSHOTS, BLOCK_NEW))


def set_snapshot_state(session: Session, account_id: str, state: str) -> None:
    """Block all public snapshots, new ones, or none."""
    region_settings.put_setting(session, account_id, _SNAPSHOTS, state)


def blocks_snapshots(session: Session, account_id: str) -> bool:
    """Whether no snapshot of the account may become public now."""
    return snapshot_state(session, account_id) != UNBLOCKED


def is_snapshot_hidden() -> sa.ColumnElement[bool]:
    """Whether its owner blocks all sharing: a public snapshot is treated as private, though its attribute stays."""
    return sa.exists().where(
        RegionSetting.account_id == Snapshot.account_id,
        RegionSetting.region == Snapshot.region,
        RegionSetting.name == _SNAPSHOTS,
        sa.cast(RegionSetting.value, sa.String) == json.dumps(BLOCK_ALL),
    )
