"""EC2's DNS names of addresses (VPC User Guide, "DNS attributes for your VPC")."""

import re
from ipaddress import AddressValueError, IPv4Address

_DEFAULT_REGION = "us-east-1"
_PRIVATE_LABEL = re.compile(r"ip-(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})")
_PUBLIC_LABEL = re.compile(r"ec2-(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})")


def private_domain(region: str) -> str:
    """The domain of private names, which DHCP also gives as the search domain."""
    return "ec2.internal" if region == _DEFAULT_REGION else f"{region}.compute.internal"


def public_domain(region: str) -> str:
    """The domain of public names."""
    return "compute-1.amazonaws.com" if region == _DEFAULT_REGION else f"{region}.compute.amazonaws.com"


def private_dns_name(private_ip: str, region: str) -> str:
    """E.g. ``ip-172-31-0-10.ec2.internal``."""
    return f"ip-{private_ip.replace('.', '-')}.{private_domain(region)}"


def public_dns_name(public_ip: str, region: str) -> str:
    """E.g. ``ec2-127-66-0-5.compute-1.amazonaws.com``."""
    return f"ec2-{public_ip.replace('.', '-')}.{public_domain(region)}"


def find_private_address(label: str) -> IPv4Address | None:
    """The address a private name's first label stands for."""
    return _address(_PRIVATE_LABEL, label)


def find_public_address(label: str) -> IPv4Address | None:
    """The address a public name's first label stands for."""
    return _address(_PUBLIC_LABEL, label)


def _address(pattern: re.Pattern[str], label: str) -> IPv4Address | None:
    match = pattern.fullmatch(label)
    if match is None:
        return None
    try:
        return IPv4Address(".".join(match.groups()))
    except AddressValueError:
        return None
