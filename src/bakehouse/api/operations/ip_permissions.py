"""IpPermissions, the form in which clients say rules: one for several sources, or flat for one."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, RequestContext
from bakehouse.database.models import SecurityGroup
from bakehouse.domain import security_groups, vpcs
from bakehouse.domain.security_groups import RuleData

_PROTOCOL_NAMES = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6", "all": "-1"}
_WITH_PORTS = {"tcp", "udp", "icmp", "icmpv6"}
_MAX_PORT = 65535
_MAX_PROTOCOL = 255
# ipaddress also takes netmasks and zones, which EC2 does not.
_CIDR = re.compile(r"[0-9a-fA-F:.]+/[0-9]{1,3}")
FLAT = ("CidrIp", "FromPort", "IpProtocol", "ToPort")
NESTED = (
    "IpPermissions[].FromPort",
    "IpPermissions[].IpProtocol",
    "IpPermissions[].IpRanges",
    "IpPermissions[].Ipv6Ranges",
    "IpPermissions[].ToPort",
    "IpPermissions[].UserIdGroupPairs[].Description",
    "IpPermissions[].UserIdGroupPairs[].GroupId",
    "IpPermissions[].UserIdGroupPairs[].GroupName",
    "IpPermissions[].UserIdGroupPairs[].UserId",
    "IpPermissions[].UserIdGroupPairs[].VpcId",
)


def read_permissions(
    context: RequestContext, group: SecurityGroup, request: Parameters
) -> list[tuple[RuleData, str | None]]:
    """The rules a request means, with their descriptions, in either of EC2's forms."""
    permissions = list(request.get("IpPermissions", ()))
    flat = {name: request[name] for name in ("IpProtocol", "FromPort", "ToPort") if name in request}
    if "CidrIp" in request:
        permissions.append({**flat, "IpRanges": [{"CidrIp": request["CidrIp"]}]})
    if "SourceSecurityGroupName" in request:
        pair = {"GroupName": request["SourceSecurityGroupName"]}
        permissions.append({"IpProtocol": "-1", **flat, "UserIdGroupPairs": [pair]})
    return [one for permission in permissions for one in _rules_of(context, group, permission)]


def _rules_of(
    context: RequestContext, group: SecurityGroup, permission: dict[str, Any]
) -> Iterator[tuple[RuleData, str | None]]:
    protocol, first, last = read_ports(permission)
    for one in permission.get("IpRanges", ()):
        cidr = read_cidr(one.get("CidrIp", ""), 4)
        yield (
            RuleData(ip_protocol=protocol, from_port=first, to_port=last, cidr_ipv4=cidr),
            one.get("Description"),
        )
    for one in permission.get("Ipv6Ranges", ()):
        cidr = read_cidr(one.get("CidrIpv6", ""), 6)
        yield (
            RuleData(ip_protocol=protocol, from_port=first, to_port=last, cidr_ipv6=cidr),
            one.get("Description"),
        )
    for one in permission.get("UserIdGroupPairs", ()):
        if "VpcId" in one and vpcs.get_vpc(context.session, context.account_id, one["VpcId"]).vpc_id != group.vpc_id:
            raise errors.group_not_found(one.get("GroupId", ""))
        other = security_groups.get(context.session, context.account_id, one.get("GroupId"), one.get("GroupName"))
        # VPCs are not connected here, so a group of another one, or of another account, can never be meant.
        if other.vpc_id != group.vpc_id or one.get("UserId", context.account_id) != context.account_id:
            raise errors.group_not_found(other.group_id)
        data = RuleData(ip_protocol=protocol, from_port=first, to_port=last, referenced_group_id=other.group_id)
        yield data, one.get("Description")


def read_ports(permission: dict[str, Any]) -> tuple[str, int, int]:
    """Protocol and range of ports (or ICMP type and code) as rules keep them; ``permission`` is in EC2's form."""
    given = str(permission.get("IpProtocol", "")).lower()
    if given.isascii() and given.isdecimal():
        given = str(int(given))
    protocol = _PROTOCOL_NAMES.get(given, given)
    is_number = protocol.isascii() and protocol.isdecimal() and int(protocol) <= _MAX_PROTOCOL
    if protocol not in _WITH_PORTS and protocol != "-1" and not is_number:
        raise errors.invalid_value_for("protocol", given, "It is a name, a number or -1.")
    if protocol not in _WITH_PORTS:
        return protocol, -1, -1
    first, last = permission.get("FromPort", -1), permission.get("ToPort", -1)
    is_icmp = protocol.startswith("icmp")
    if not is_icmp and (first, last) == (-1, -1):
        first, last = 0, _MAX_PORT
    limit = 255 if is_icmp else _MAX_PORT
    lowest = -1 if is_icmp else 0
    if not (lowest <= first <= limit and lowest <= last <= limit) or (not is_icmp and first > last):
        raise errors.invalid_parameter_value(f"Invalid port range or ICMP type: {first} to {last}")
    return protocol, first, last


def read_cidr(text: str, version: int) -> str:
    """A CIDR block of this IP version, without the bits beyond its prefix, as EC2 keeps it."""
    malformed = errors.invalid_parameter_value(f"CIDR block {text[:64]} is malformed")
    if not _CIDR.fullmatch(text):
        raise malformed
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise malformed from None
    if network.version != version:
        raise malformed
    return str(network)
