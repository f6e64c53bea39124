"""Public and hardware addresses.

Public addresses come from one configured network (by default part of the loopback range).

Invariant: an address is taken while an interface shows it, an account has allocated it, or its last VPC has not let
go of it yet; of a taken one nobody else is given anything.
"""

import secrets
from ipaddress import IPv4Address, IPv4Network

from sqlalchemy import select
from sqlalchemy.orm import Session

from bakehouse.database.models import ElasticAddress, NetworkInterface, RestingAddress
from bakehouse.database.session import everywhere
from bakehouse.errors import ApiError


def allocate_public_ip(session: Session, network: IPv4Network) -> str:
    """Return an address of ``network`` that is not taken; never its first or last."""
    kinds = (NetworkInterface, ElasticAddress, RestingAddress)
    taken = {ip for kind in kinds for ip in session.scalars(everywhere(select(kind.public_ip)))}
    size = network.num_addresses
    start = secrets.randbelow(size)
    for step in range(size):
        offset = (start + step) % size
        address = str(IPv4Address(int(network.network_address) + offset))
        if 0 < offset < size - 1 and address not in taken:
            return address
    raise ApiError("InsufficientAddressCapacity", f"No free address is left in {network}.")


def withdraw_public_ip(session: Session, interface: NetworkInterface) -> None:
    """Take an interface's public address away; it rests until the VPC's network has followed (apply_firewall)."""
    if interface.public_ip is not None:
        resting = RestingAddress(region=interface.region, vpc_id=interface.vpc_id, public_ip=interface.public_ip)
        session.add(resting)
        interface.public_ip = None
    # What takes the address next is written after this.
    session.flush()


def new_mac_address() -> str:
    """Return a random unicast, locally administered MAC address in EC2's 02:... form."""
    return ":".join(["02", *(f"{byte:02x}" for byte in secrets.token_bytes(5))])
