"""Network interfaces: who may see them, and their groups. They come and go with their instances."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload, selectinload

from bakehouse import errors
from bakehouse.database.models import InterfaceGroup, NetworkInterface
from bakehouse.domain import security_groups
from bakehouse.ids import Prefix, is_well_formed


def visible(session: Session, account_id: str, interface_ids: Sequence[str] = ()) -> list[NetworkInterface]:
    """The blessed select: the account's interfaces, or exactly those named."""
    for interface_id in interface_ids:
        if not is_well_formed(Prefix.NETWORK_INTERFACE, interface_id):
            raise errors.network_interface_id_malformed(interface_id)
    query = (
        sa.select(NetworkInterface)
        .where(NetworkInterface.account_id == account_id)
        .options(
            joinedload(NetworkInterface.instance),
            joinedload(NetworkInterface.elastic_address),
            selectinload(NetworkInterface.groups),
        )
        .order_by(NetworkInterface.attached_at, NetworkInterface.interface_id)
    )
    if interface_ids:
        query = query.where(NetworkInterface.interface_id.in_(interface_ids))
    found = list(session.scalars(query))
    known = {one.interface_id for one in found}
    for interface_id in interface_ids:
        if interface_id not in known:
            raise errors.network_interface_not_found(interface_id)
    return found


def get(session: Session, account_id: str, interface_id: str) -> NetworkInterface:
    """Return one of the account's interfaces."""
    return visible(session, account_id, [interface_id])[0]


def set_groups(session: Session, interface: NetworkInterface, group_ids: Sequence[str]) -> None:
    """Make the interface a member of exactly these groups; the network follows by ``apply_firewall``."""
    groups = security_groups.resolve_groups(session, interface.account_id, interface.vpc_id, group_ids, [])
    interface.groups.clear()
    session.flush()
    interface.groups.extend(
        InterfaceGroup(group_id=group.group_id, position=position) for position, group in enumerate(groups)
    )
    session.flush()
