"""Public and hardware addresses.

Public addresses come from one configured network (by default part of the loopback range); the unique column
of the interface row is the truth about which are taken.
"""

import secrets
from ipaddress import IPv4Address, IPv4Network

from sqlalchemy import select
from sqlalchemy.orm import Session

from bakehouse.database.models import NetworkInterface
from bakehouse.database.session import everywhere
from bakehouse.errors import ApiError


def allocate_public_ip(session: Session, network: IPv4Network) -> str:
    """Return an address of ``network`` no interface has; never its first or last."""
    taken = set(session.scalars(everywhere(select(NetworkInterface.public_ip))))
    size = network.num_addresses
    start = secrets.randbelow(size)
    for step in range(size):
        offset = (start + step) % size
        address = str(IPv4Address(int(network.network_address) + offset))
        if 0 < offset < size - 1 and address not in taken:
            return address
    raise ApiError("InsufficientAddressCapacity", f"No free address is left in {network}.")


def new_mac_address() -> str:
    """Return a random unicast, locally administered MAC address in EC2's 02:... form."""
    return ":".join(["02", *(f"{byte:02x}" for byte in secrets.token_bytes(5))])
