"""The parts of this host, wired by main.py and handed to workflows and operations.

Invariant: nothing here decides anything; it only holds what was built.
"""

import threading
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from bakehouse.database.session import Database
from bakehouse.durable.engine import Engine
from bakehouse.host.locks import Locks
from bakehouse.host.loop import HostLoop
from bakehouse.host.memory import machine_overhead_mib
from bakehouse.hypervisor.machine import Machines
from bakehouse.hypervisor.spec import Accelerator
from bakehouse.network.spec import NetworkError
from bakehouse.network.vpc import VpcNetwork, VpcNetworks
from bakehouse.settings import Settings
from bakehouse.storage.bases import Bases
from bakehouse.storage.snapshots import Snapshots

# Each has two threads that are busy: more at once would only make every one slower.
_READERS = 16


@dataclass(kw_only=True)
class Host:
    """One Bakehouse host.

    ``memory_mib`` is what launches may use. ``is_root`` tells whether machines get uids of their own.
    ``locks`` holds one lock per instance: whoever starts, stops or captures its machine holds it; one per volume, for
    who has the disk open while it is attached to none; and one per VPC, see vpc_network.py. Who takes two takes the
    instance's first. ``freezing`` holds one per instance, too, taken last: whoever freezes or thaws its guest holds it.
    ``in_doubt`` are instances whose guest may have been left frozen; the reachability watch takes them out again.
    ``reading`` has room for as many captures as read disks at the same time; who waits for it holds no lock.
    """

    settings: Settings
    database: Database
    engine: Engine
    loop: HostLoop
    machines: Machines
    networks: VpcNetworks
    snapshots: Snapshots
    bases: Bases
    accelerator: Accelerator
    memory_mib: int
    is_root: bool
    locks: Locks = field(default_factory=Locks)
    freezing: Locks = field(default_factory=Locks)
    in_doubt: set[str] = field(default_factory=set)
    reading: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_READERS))

    @property
    def machine_overhead_mib(self) -> int:
        """What a machine takes of ``memory_mib`` besides its guest's memory."""
        return machine_overhead_mib(is_emulated=self.accelerator is Accelerator.TCG)

    def enqueue(self, session: Session, name: str, *arguments: Any, key: str, workflow_id: str) -> None:
        """Put a workflow into the caller's transaction; see ``Engine.enqueue``."""
        self.engine.enqueue(session, name, *arguments, key=key, workflow_id=workflow_id)

    def uid_of(self, number: int | None) -> int | None:
        """The host uid of a uid number (0: files that belong to no machine); None when rootless."""
        return self.settings.uid_base + (number or 0) if self.is_root else None

    def find_network(self, vpc_id: str) -> VpcNetwork | None:
        """The VPC's network if it is up."""
        try:
            return self.networks.get(vpc_id)
        except NetworkError:
            return None
