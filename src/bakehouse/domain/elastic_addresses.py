"""Elastic addresses: an account's until released, each leading to one interface at a time.

Invariant: while an elastic address is associated, its interface's public address is it. An instance that loses it
while it runs is given an automatic one again if its interface asks for one.
Semantics and limit: EC2 User Guide, "Elastic IP addresses".
"""

from collections.abc import Sequence
from ipaddress import IPv4Network

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from bakehouse import errors
from bakehouse.database.models import ElasticAddress, NetworkInterface
from bakehouse.domain import addresses, tags
from bakehouse.domain.instances import State
from bakehouse.errors import addresses as address_errors
from bakehouse.ids import Prefix, new_id

# EC2's default, in each region.
MAX_ADDRESSES = 5
_CAN_BE_GIVEN_ONE = (State.RUNNING, State.STOPPING, State.STOPPED)
_HAVE_A_MACHINE = (State.PENDING, State.RUNNING)


def visible(session: Session, account_id: str) -> list[ElasticAddress]:
    """The blessed select: the account's addresses, oldest first."""
    query = (
        sa.select(ElasticAddress)
        .where(ElasticAddress.account_id == account_id)
        .options(joinedload(ElasticAddress.interface))
        .order_by(ElasticAddress.allocated_at, ElasticAddress.allocation_id)
    )
    return list(session.scalars(query))


def list_addresses(
    session: Session, account_id: str, allocation_ids: Sequence[str] = (), public_ips: Sequence[str] = ()
) -> list[ElasticAddress]:
    """Return the account's addresses, or exactly those named."""
    found = visible(session, account_id)
    for allocation_id in allocation_ids:
        if allocation_id not in {one.allocation_id for one in found}:
            raise address_errors.allocation_not_found(allocation_id)
    for public_ip in public_ips:
        if public_ip not in {one.public_ip for one in found}:
            raise address_errors.address_not_found(public_ip)
    if allocation_ids or public_ips:
        return [one for one in found if one.allocation_id in allocation_ids or one.public_ip in public_ips]
    return found


def get(session: Session, account_id: str, *, allocation_id: str | None, public_ip: str | None) -> ElasticAddress:
    """Return one of the account's addresses, named by either but not by both: they could be two."""
    if allocation_id is not None and public_ip is not None:
        raise errors.invalid_parameter_combination("Name an allocation ID or a public IP, not both.")
    if allocation_id is None and public_ip is None:
        raise errors.missing_parameter("AllocationId")
    for one in visible(session, account_id):
        if allocation_id in (None, one.allocation_id) and public_ip in (None, one.public_ip):
            return one
    if allocation_id is not None:
        raise address_errors.allocation_not_found(allocation_id)
    raise address_errors.address_not_yours(str(public_ip))


def get_associated(session: Session, account_id: str, association_id: str) -> ElasticAddress:
    """Return the account's address of this association."""
    for one in visible(session, account_id):
        if one.association_id == association_id:
            return one
    raise address_errors.association_not_found(association_id)


def allocate(session: Session, account_id: str, network: IPv4Network) -> ElasticAddress:
    """Take an address out of the public network for the account."""
    if len(visible(session, account_id)) >= MAX_ADDRESSES:
        raise address_errors.address_limit_exceeded()
    address = ElasticAddress(
        allocation_id=new_id(Prefix.ADDRESS_ALLOCATION),
        account_id=account_id,
        public_ip=addresses.allocate_public_ip(session, network),
    )
    session.add(address)
    session.flush()
    return address


def associate(
    session: Session,
    address: ElasticAddress,
    interface: NetworkInterface,
    network: IPv4Network,
    *,
    may_reassociate: bool = True,
) -> set[str]:
    """Lead an address to an interface, away from where it led before; return the VPCs that change.

    Again for the same interface changes nothing.
    """
    instance = interface.instance
    if instance.state not in _CAN_BE_GIVEN_ONE:
        raise address_errors.not_ready_for_address(instance.instance_id, instance.state)
    if address.interface is interface:
        return set()
    others = [one for one in (address, interface.elastic_address) if one is not None and one.association_id]
    if others and not may_reassociate:
        resource = address.allocation_id if address in others else interface.interface_id
        raise address_errors.already_associated(resource, str(others[0].association_id))
    changed = {interface.vpc_id}
    for one in others:
        changed |= disassociate(session, one, network, follows=interface)
    addresses.withdraw_public_ip(session, interface)
    address.interface, address.association_id = interface, new_id(Prefix.ADDRESS_ASSOCIATION)
    interface.public_ip = address.public_ip
    session.flush()
    return changed


def disassociate(
    session: Session, address: ElasticAddress, network: IPv4Network, *, follows: NetworkInterface | None = None
) -> set[str]:
    """Let an address lead nowhere; return the VPCs that change. ``follows``: the interface that gets another next."""
    interface = address.interface
    if interface is None:
        return set()
    address.interface = address.association_id = None
    addresses.withdraw_public_ip(session, interface)
    if interface is not follows:
        give_automatic(session, interface, network)
    return {interface.vpc_id}


def give_automatic(session: Session, interface: NetworkInterface, network: IPv4Network) -> None:
    """Give a running instance's interface the public address it asks for."""
    if interface.associates_public_ip and interface.public_ip is None and interface.instance.state in _HAVE_A_MACHINE:
        interface.public_ip = addresses.allocate_public_ip(session, network)
        session.flush()


def release(session: Session, address: ElasticAddress) -> None:
    """Give an address back."""
    if address.association_id is not None:
        raise address_errors.address_in_use(address.public_ip)
    tags.delete_tags_of(session, address.allocation_id)
    session.delete(address)
    session.flush()
