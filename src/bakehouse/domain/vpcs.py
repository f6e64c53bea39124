"""VPCs, their subnets, and the private addresses in them.

Invariant: an account has one default VPC, and a private address is given to one network interface at a time.
Reserved addresses: VPC User Guide, "Subnet CIDR blocks" (the first four and the last of each subnet).
"""

import ipaddress
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import NetworkInterface, Subnet, Vpc
from bakehouse.database.session import everywhere, in_region
from bakehouse.domain.security_groups import create_default_group
from bakehouse.errors import ApiError
from bakehouse.ids import Prefix, is_well_formed, new_id

DEFAULT_VPC_CIDR = "172.31.0.0/16"
_DEFAULT_SUBNET_PREFIX_LENGTH = 20
ZONE_LETTERS = ("a", "b", "c")
# How AWS shortens the compass in zone ids; other words give their first letter.
_COMPASS = {"southeast": "se", "southwest": "sw", "northeast": "ne", "northwest": "nw"}
_RESERVED_AT_START = 4
_RESERVED_AT_END = 1


def zone_names(region: str) -> tuple[str, ...]:
    """Return the availability zones of the region; they share this host."""
    return tuple(f"{region}{letter}" for letter in ZONE_LETTERS)


def zone_id(zone: str) -> str:
    """Return a zone's id in AWS's manner: ``us-east-1a`` is ``use1-az1``."""
    region, number = zone[:-1], ZONE_LETTERS.index(zone[-1]) + 1
    area, *compass = region.split("-")
    short = area + "".join(_COMPASS.get(word, word[:1]) for word in compass)
    return f"{short}-az{number}"


def create_default_vpc(session: Session, account_id: str, *, region: str) -> Vpc:
    """Make the account's default VPC in a region, with one subnet per zone and the default security group."""
    with in_region(session, region):
        return _add_default_vpc(session, account_id, region)


def _add_default_vpc(session: Session, account_id: str, region: str) -> Vpc:
    vpc = Vpc(
        vpc_id=new_id(Prefix.VPC),
        account_id=account_id,
        cidr_block=DEFAULT_VPC_CIDR,
        is_default=True,
        agent_uid_number=_free_agent_uid_number(session),
    )
    session.add(vpc)
    session.flush()
    ranges = ipaddress.IPv4Network(DEFAULT_VPC_CIDR).subnets(new_prefix=_DEFAULT_SUBNET_PREFIX_LENGTH)
    for zone, cidr in zip(zone_names(region), ranges, strict=False):
        session.add(
            Subnet(
                subnet_id=new_id(Prefix.SUBNET),
                account_id=account_id,
                vpc_id=vpc.vpc_id,
                availability_zone=zone,
                cidr_block=str(cidr),
                is_default_for_az=True,
                map_public_ip_on_launch=True,
            )
        )
    create_default_group(session, account_id, vpc.vpc_id)
    session.flush()
    return vpc


def list_vpcs(session: Session, account_id: str, ids: Iterable[str] = ()) -> list[Vpc]:
    """Return the account's VPCs, or exactly those named."""
    query = sa.select(Vpc).where(Vpc.account_id == account_id).order_by(Vpc.created_at, Vpc.vpc_id)
    found = {vpc.vpc_id: vpc for vpc in session.scalars(query)}
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        return list(found.values())
    for vpc_id in wanted:
        if vpc_id not in found:
            raise _unknown_vpc(vpc_id)
    return [found[vpc_id] for vpc_id in wanted]


def get_vpc(session: Session, account_id: str, vpc_id: str) -> Vpc:
    """Return one of the account's VPCs, or refuse."""
    return list_vpcs(session, account_id, [vpc_id])[0]


def default_vpc(session: Session, account_id: str) -> Vpc:
    """Return the account's default VPC; VPCIdNotSpecified when it has none."""
    query = sa.select(Vpc).where(Vpc.account_id == account_id, Vpc.is_default)
    vpc = session.scalars(query).first()
    if vpc is None:
        raise ApiError("VPCIdNotSpecified", "No default VPC for this user")
    return vpc


def list_subnets(session: Session, account_id: str, ids: Iterable[str] = ()) -> list[Subnet]:
    """Return the account's subnets, or exactly those named."""
    query = (
        sa.select(Subnet)
        .where(Subnet.account_id == account_id)
        .order_by(Subnet.vpc_id, Subnet.availability_zone, Subnet.subnet_id)
    )
    found = {subnet.subnet_id: subnet for subnet in session.scalars(query)}
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        return list(found.values())
    for subnet_id in wanted:
        if subnet_id not in found:
            raise _unknown_subnet(subnet_id)
    return [found[subnet_id] for subnet_id in wanted]


def get_subnet(session: Session, account_id: str, subnet_id: str) -> Subnet:
    """Return one of the account's subnets, or refuse."""
    return list_subnets(session, account_id, [subnet_id])[0]


def default_subnet(session: Session, account_id: str, zone: str | None = None) -> Subnet:
    """Return the default VPC's subnet in ``zone``, or the first that has a free address.

    An unknown zone is InvalidParameterValue. When all are full it is the first one: allocation then refuses.
    """
    vpc = default_vpc(session, account_id)
    query = (
        sa.select(Subnet)
        .where(Subnet.vpc_id == vpc.vpc_id, Subnet.is_default_for_az)
        .order_by(Subnet.availability_zone)
    )
    subnets = list(session.scalars(query))
    if zone is not None:
        for subnet in subnets:
            if subnet.availability_zone == zone:
                return subnet
        raise ApiError("InvalidParameterValue", f"Invalid availability zone: [{zone}]")
    if not subnets:
        raise ApiError("MissingInput", "No subnets found for the default VPC. Please specify a subnet.")
    free = available_address_counts(session, subnets)
    return next((subnet for subnet in subnets if free[subnet.subnet_id] > 0), subnets[0])


def available_address_counts(session: Session, subnets: Iterable[Subnet]) -> dict[str, int]:
    """Return how many private addresses each subnet has left to give."""
    by_id = {subnet.subnet_id: subnet for subnet in subnets}
    query = (
        sa.select(NetworkInterface.subnet_id, sa.func.count())
        .where(NetworkInterface.subnet_id.in_(by_id))
        .group_by(NetworkInterface.subnet_id)
    )
    used = dict(session.execute(query).all())
    return {
        subnet_id: _usable_count(ipaddress.IPv4Network(subnet.cidr_block)) - used.get(subnet_id, 0)
        for subnet_id, subnet in by_id.items()
    }


def allocate_private_ip(session: Session, subnet: Subnet, wanted: str | None = None) -> str:
    """Choose the private address of a new interface: ``wanted``, or the lowest free one.

    The caller writes the interface in the same transaction, which is what takes the address.
    Errors: InvalidParameterValue, InvalidIPAddress.InUse, InsufficientFreeAddressesInSubnet.
    """
    network = ipaddress.IPv4Network(subnet.cidr_block)
    query = sa.select(NetworkInterface.private_ip).where(NetworkInterface.vpc_id == subnet.vpc_id)
    used = set(session.scalars(query))
    if wanted is not None:
        return _check_wanted_address(network, wanted, used)
    first = int(network.network_address) + _RESERVED_AT_START
    for number in range(first, first + _usable_count(network)):
        address = str(ipaddress.IPv4Address(number))
        if address not in used:
            return address
    raise ApiError(
        "InsufficientFreeAddressesInSubnet",
        f"The specified subnet {subnet.subnet_id} has no free private address left.",
    )


def _check_wanted_address(network: ipaddress.IPv4Network, wanted: str, used: set[str]) -> str:
    try:
        address = ipaddress.IPv4Address(wanted)
    except ValueError:
        raise ApiError("InvalidParameterValue", f"invalid value for parameter address: {wanted}") from None
    if address not in network:
        raise ApiError("InvalidParameterValue", "Address does not fall within the subnet's address range")
    offset = int(address) - int(network.network_address)
    if not _RESERVED_AT_START <= offset < network.num_addresses - _RESERVED_AT_END:
        raise ApiError("InvalidParameterValue", "Address is in subnet's reserved address range")
    if str(address) in used:
        raise ApiError("InvalidIPAddress.InUse", f"Address {address} is in use.")
    return str(address)


def _usable_count(network: ipaddress.IPv4Network) -> int:
    return network.num_addresses - _RESERVED_AT_START - _RESERVED_AT_END


def _free_agent_uid_number(session: Session) -> int:
    used = set(session.scalars(everywhere(sa.select(Vpc.agent_uid_number))))
    return next(number for number in range(1, len(used) + 2) if number not in used)


def _unknown_vpc(vpc_id: str) -> ApiError:
    if not is_well_formed(Prefix.VPC, vpc_id):
        return ApiError("InvalidVpcID.Malformed", f'Invalid id: "{vpc_id}" (expecting "vpc-...")')
    return ApiError("InvalidVpcID.NotFound", f"The vpc ID '{vpc_id}' does not exist")


def _unknown_subnet(subnet_id: str) -> ApiError:
    if not is_well_formed(Prefix.SUBNET, subnet_id):
        return ApiError("InvalidSubnetID.Malformed", f'Invalid id: "{subnet_id}" (expecting "subnet-...")')
    return ApiError("InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist")
