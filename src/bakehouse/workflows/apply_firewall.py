"""Bring a VPC's firewall and public listeners to what its groups, interfaces and addresses say."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import Instance, NetworkInterface, RestingAddress
from bakehouse.domain.instances import State
from bakehouse.network.spec import InterfaceSpec
from bakehouse.workflows import specs
from bakehouse.workflows.host import Host


def apply_firewall(host: Host, vpc_id: str) -> None:
    """Apply the VPC's groups, and its interfaces' memberships and public addresses."""
    host.engine.step(render_firewall, host, vpc_id)


def render_firewall(host: Host, vpc_id: str) -> None:
    """Read the rows as they are now and apply them; a VPC without machines has no firewall yet.

    Addresses that were taken from interfaces are free again once nobody listens on them.
    """
    with host.locks[vpc_id]:
        network = host.find_network(vpc_id)
        with host.database.transaction(mutates=False) as session:
            resting = session.scalars(sa.select(RestingAddress.resting_id).where(RestingAddress.vpc_id == vpc_id)).all()
            described = network.interface_ids() if network is not None else []
            interfaces = _interfaces(session, vpc_id, described)
            groups = specs.group_specs(session, vpc_id)
        if network is not None:
            # All at once: an address that moves is closed at one interface before the other opens it.
            network.restore(groups, interfaces)
        if resting:
            with host.database.transaction() as session:
                session.execute(sa.delete(RestingAddress).where(RestingAddress.resting_id.in_(resting)))


def _interfaces(session: Session, vpc_id: str, described: list[str]) -> list[InterfaceSpec]:
    """Those of running machines, and of those that are just being started or ended."""
    has_machine = sa.or_(Instance.state == State.RUNNING, NetworkInterface.interface_id.in_(described))
    query = sa.select(Instance).join(Instance.interface).where(Instance.vpc_id == vpc_id, has_machine)
    return [specs.interface_spec(session, instance) for instance in session.scalars(query)]
