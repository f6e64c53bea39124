"""At start: make rows and the host agree again, whatever instant the last service died at.

Unfinished workflows are resumed by the durable engine; this is for what no workflow is about: machines that
went on or ended meanwhile, and files of what no row knows.
"""

import logging
from contextlib import suppress

from sqlalchemy import select

from bakehouse.database.models import Instance, Volume
from bakehouse.domain import instances
from bakehouse.domain.instances import State
from bakehouse.errors import PartError
from bakehouse.hypervisor.disk_server import end_leftover_disk_servers
from bakehouse.hypervisor.spec import ExitReason
from bakehouse.storage import volumes as volume_files
from bakehouse.workflows import capture, specs
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
    """Reattach to the machines of running instances: network, firewall, watch; note those that ended."""
    with host.database.transaction(mutates=False) as session:
        running = session.scalars(select(Instance).where(Instance.state == State.RUNNING)).all()
    alive = set(host.machines.all_running())
    for instance in running:
        if instance.instance_id not in alive:
            enqueue_exit(host, instance.instance_id, ExitReason.CRASH)
            continue
        try:
            with host.locks[instance.vpc_id]:
                if not _adopt_interface(host, instance.instance_id):
                    continue
            watch_machine(host, instance.instance_id)
        except Exception:  # whatever one machine is like, the others are reattached to
            _log.exception("could not reattach to %s", instance.instance_id)
    capture.doubt_all(host)


def _adopt_interface(host: Host, instance_id: str) -> bool:
    """Describe a running machine's interface as its rows are now; False when it is being ended meanwhile."""
    with host.database.transaction(mutates=False) as session:
        instance = instances.get_any(session, instance_id)
        if instance.state != State.RUNNING:
            return False
        interface = specs.interface_spec(session, instance)
    ensure_network(host, interface.vpc_id).adopt_interface(interface)
    return True


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
