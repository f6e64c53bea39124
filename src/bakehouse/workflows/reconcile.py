"""Make rows and the host agree: at start, whatever instant the last service died at, and again every few minutes.

Unfinished workflows are resumed by the durable engine; this is for what no workflow is about: machines that
went on or ended meanwhile, networks that a change did not reach, and files of what no row knows.
"""

import logging
from collections.abc import Sequence, Set
from contextlib import suppress

from sqlalchemy import select
from sqlalchemy.orm import Session

from bakehouse.database.models import Instance, RestingAddress, Volume
from bakehouse.domain.instances import State
from bakehouse.errors import PartError
from bakehouse.hypervisor.disk_server import end_leftover_disk_servers
from bakehouse.hypervisor.spec import ExitReason
from bakehouse.storage import volumes as volume_files
from bakehouse.workflows import capture
from bakehouse.workflows.apply_firewall import render_firewall
from bakehouse.workflows.host import Host
from bakehouse.workflows.machine_exited import enqueue_exit, watch_machine
from bakehouse.workflows.vpc_network import end_idle_networks, ensure_network

_log = logging.getLogger("bakehouse.reconcile")


def take_up_work(host: Host) -> None:
    """Resume what a killed service left unfinished, and make rows and host agree."""
    # Before a resumed capture starts its own again.
    end_leftover_disk_servers(host.settings.state)
    host.engine.launch()
    reconcile(host)


def reconcile(host: Host) -> None:
    """Adopt what runs, follow what ended, remove what belongs to nobody."""
    remove_orphan_machines(host)
    adopt_running(host)
    capture.doubt_all(host)
    end_idle_networks(host)
    remove_orphan_files(host)
    host.bases.sweep()


def remove_orphan_machines(host: Host) -> None:
    """End machines whose instance is terminated or unknown."""
    with host.database.transaction(mutates=False) as session:
        wanted = set(session.scalars(select(Instance.instance_id).where(Instance.state != State.TERMINATED)))
    for instance_id in host.machines.all_running():
        if instance_id not in wanted:
            _log.warning("ending the machine of unknown instance %s", instance_id)
            host.machines.kill(instance_id)


def adopt_running(host: Host) -> None:
    """Have the networks be as the rows say, and every running instance's machine watched; note those that ended.

    Done again and again: what failed for one VPC or machine is tried the next time, what is in order stays as it is.
    """
    with host.database.transaction(mutates=False) as session:
        running = _running(session)
        vpc_ids = {one.vpc_id for one in running} | set(session.scalars(select(RestingAddress.vpc_id)))
    alive = set(host.machines.all_running())
    for vpc_id in sorted(vpc_ids | set(host.networks.vpc_ids())):
        try:
            _adopt_network(host, vpc_id, alive)
        except Exception:  # whatever one is like, the others are set right
            _log.exception("the network of %s is not in order", vpc_id)
    for instance in running:
        try:
            if instance.instance_id in alive:
                watch_machine(host, instance.instance_id)
            else:
                enqueue_exit(host, instance.instance_id, ExitReason.CRASH)
        except Exception:
            _log.exception("could not reattach to %s", instance.instance_id)


def _running(session: Session) -> Sequence[Instance]:
    return session.scalars(select(Instance).where(Instance.state == State.RUNNING)).all()


def _adopt_network(host: Host, vpc_id: str, alive: Set[str]) -> None:
    """Bring a VPC's network up if machines run in it, and bring what is up in step with the rows."""
    with host.locks[vpc_id]:
        with host.database.transaction(mutates=False) as session:
            # Read under the lock: one that is ended from now on leaves the network after us.
            has_machines = any(one.vpc_id == vpc_id and one.instance_id in alive for one in _running(session))
        if has_machines:
            ensure_network(host, vpc_id)
        render_firewall(host, vpc_id)


def remove_orphan_files(host: Host) -> None:
    """Delete directories of machines and volumes that no row knows any more."""
    state = host.settings.state
    with host.database.transaction(mutates=False) as session:
        instance_ids = set(session.scalars(select(Instance.instance_id).where(Instance.state != State.TERMINATED)))
        volume_ids = set(session.scalars(select(Volume.volume_id).where(Volume.deleted_at.is_(None))))
    for directory in state.instances.glob("i-*"):
        instance_id = directory.name.partition(".")[0]
        if instance_id not in instance_ids:
            with suppress(PartError):
                host.machines.remove(instance_id)
    for directory in state.volumes.glob("vol-*"):
        if directory.name not in volume_ids:
            volume_files.delete(state.volume(directory.name))
