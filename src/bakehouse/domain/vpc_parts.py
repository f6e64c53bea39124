"""What every VPC has exactly one of: route table, internet gateway, network ACL, DHCP options.

Invariant: their ids are made of their VPC's, so they are always the same and need no rows.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from bakehouse.database.models import Vpc
from bakehouse.domain import vpcs
from bakehouse.errors import networks as errors
from bakehouse.ids import Prefix, is_well_formed

# What is said of unknown and of malformed ids.
_ERRORS = {
    Prefix.DHCP_OPTIONS: (errors.dhcp_options_not_found, errors.dhcp_options_id_malformed),
    Prefix.INTERNET_GATEWAY: (errors.internet_gateway_not_found, errors.internet_gateway_id_malformed),
    Prefix.NETWORK_ACL: (errors.network_acl_not_found, errors.network_acl_id_malformed),
    Prefix.ROUTE_TABLE: (errors.route_table_not_found, errors.route_table_id_malformed),
}


@dataclass(frozen=True, kw_only=True)
class VpcPart:
    """One part and whose it is."""

    part_id: str
    vpc: Vpc


def id_of(prefix: str, resource_id: str) -> str:
    """The id of the part of a VPC or subnet: the same digits behind another prefix."""
    return f"{prefix}-{resource_id.rpartition('-')[2]}"


def list_parts(session: Session, account_id: str, prefix: Prefix, ids: Iterable[str] = ()) -> list[VpcPart]:
    """Return the account's parts of one kind, or exactly those named."""
    parts = {id_of(prefix, vpc.vpc_id): vpc for vpc in vpcs.list_vpcs(session, account_id)}
    wanted = list(dict.fromkeys(ids))
    unknown, malformed = _ERRORS[prefix]
    for part_id in wanted:
        if not is_well_formed(prefix, part_id):
            raise malformed(part_id)
        if part_id not in parts:
            raise unknown(part_id)
    return [VpcPart(part_id=part_id, vpc=parts[part_id]) for part_id in wanted or parts]
