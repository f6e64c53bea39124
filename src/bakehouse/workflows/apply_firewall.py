"""Bring a VPC's firewall and public listeners to what its groups and interfaces say."""

from sqlalchemy import select

from bakehouse.database.models import Instance
from bakehouse.domain.instances import State
from bakehouse.network.vpc import VpcNetwork
from bakehouse.workflows import specs
from bakehouse.workflows.host import Host


def apply_firewall(host: Host, vpc_id: str) -> None:
    """Apply the VPC's groups, and its running interfaces' memberships and addresses."""
    host.engine.step(render_firewall, host, vpc_id)


def render_firewall(host: Host, vpc_id: str) -> None:
    """Read the rows as they are now and apply them; a VPC without machines has no firewall yet."""
    with host.locks[vpc_id]:
        network = host.find_network(vpc_id)
        if network is not None:
            _render(host, network, vpc_id)


def _render(host: Host, network: VpcNetwork, vpc_id: str) -> None:
    with host.database.transaction(mutates=False) as session:
        running = session.scalars(
            select(Instance).where(Instance.vpc_id == vpc_id, Instance.state == State.RUNNING)
        ).all()
        interfaces = [specs.interface_spec(session, one) for one in running if one.interface is not None]
        groups = specs.group_specs(session, vpc_id)
    network.set_groups(groups)
    for interface in interfaces:
        network.update_interface(interface)
