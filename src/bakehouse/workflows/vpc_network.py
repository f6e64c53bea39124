"""A VPC's network on this host: brought up for its first machine, ended with its last.

Invariant: whoever brings a network up holds ``host.locks[vpc_id]`` until an interface is described in it, and who
ends one holds it too; so no launch loses the network it was about to use.
"""

from sqlalchemy import select

from bakehouse.database.models import Instance, Vpc
from bakehouse.network.vpc import VpcNetwork
from bakehouse.workflows import specs
from bakehouse.workflows.host import Host


def ensure_network(host: Host, vpc_id: str) -> VpcNetwork:
    """The VPC's network, made, adopted or joined again, with its groups applied; the caller holds the lock."""
    with host.database.transaction(mutates=False) as session:
        spec = specs.vpc_spec(host, session.get_one(Vpc, vpc_id))
        groups = specs.group_specs(session, vpc_id)
    network = host.networks.ensure(spec, member_pids=_member_pids(host, vpc_id))
    network.set_groups(groups)
    return network


def end_idle_network(host: Host, vpc_id: str) -> None:
    """End the VPC's agent and uplink unless a machine runs in it or is being started; idempotent."""
    with host.locks[vpc_id]:
        network = host.find_network(vpc_id)
        if (network is None or not network.interface_ids()) and not _member_pids(host, vpc_id):
            host.networks.shut_down(vpc_id)


def end_idle_networks(host: Host) -> None:
    """End what a killed service left running for VPCs without machines."""
    for directory in host.settings.state.vpcs.glob("vpc-*"):
        end_idle_network(host, directory.name)


def _member_pids(host: Host, vpc_id: str) -> list[int]:
    with host.database.transaction(mutates=False) as session:
        members = set(session.scalars(select(Instance.instance_id).where(Instance.vpc_id == vpc_id)))
    return [pid for instance_id, pid in host.machines.pids().items() if instance_id in members]
