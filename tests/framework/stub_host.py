"""A host of instances that run by their rows, whose machines are made up: for what looks at guests.

Real rows, locks, event loop and agents' sockets; no QEMU and no network.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import sqlalchemy as sa

from bakehouse.database.migrate import migrate
from bakehouse.database.models import Account, Instance, NetworkInterface, Snapshot, Volume, now
from bakehouse.database.session import Database
from bakehouse.host.locks import Locks
from bakehouse.host.loop import HostLoop
from bakehouse.hypervisor.machine import Machines
from bakehouse.paths import StateDirectory
from bakehouse.workflows.host import Host
from tests.framework.rows import ACCOUNT
from tests.framework.scripted_agent import ScriptedAgent


class StubMachines:
    """Each machine has an agent, unless ``find`` is told to do something else before."""

    def __init__(self) -> None:
        self.before_find: dict[str, Callable[[], Any]] = {}
        self.watched: list[str] = []
        self.running: list[str] = []

    def find(self, instance_id: str) -> Any:
        """A machine, if nothing stops us."""
        self.before_find.get(instance_id, lambda: None)()
        return SimpleNamespace(instance_id=instance_id, has_agent=lambda: True)

    def all_running(self) -> list[str]:
        """All of them."""
        return self.running

    def watch(self, instance_id: str, on_exit: Any) -> None:
        """Remember that it is watched."""
        self.find(instance_id)
        self.watched.append(instance_id)


class StubHost:
    """``host`` is what workflows are given."""

    def __init__(self, root: Path) -> None:
        self.loop = HostLoop()
        self.machines = StubMachines()
        self.database = Database(f"sqlite:///{root / 'rows.db'}")
        self.state = StateDirectory(root=root)
        self.agents: dict[str, ScriptedAgent] = {}
        migrate(self.database)
        with self.database.transaction(region="us-east-1") as session:
            session.add(Account(account_id=ACCOUNT))
        made = SimpleNamespace(
            database=self.database,
            machines=self.machines,
            loop=self.loop,
            settings=SimpleNamespace(state=self.state),
            uid_of=lambda number: None,
            find_network=lambda vpc_id: None,
            networks=SimpleNamespace(vpc_ids=list),
            locks=Locks(),
            freezing=Locks(),
            in_doubt=set(),
        )
        self.host = cast("Host", made)

    def run(self, name: str, *, is_known_up: bool = False) -> ScriptedAgent:
        """A running instance, and the agent of its guest."""
        with self.database.transaction(region="us-east-1") as session:
            session.add(_instance(name, is_known_up=is_known_up))
            session.flush()
            session.add(_interface(name, private_ip=f"172.31.0.{len(self.agents) + 4}"))
        socket = self.state.instance(name).guest_agent_socket
        socket.parent.mkdir(parents=True)
        self.machines.running.append(name)
        self.agents[name] = ScriptedAgent(self.loop, socket)
        return self.agents[name]

    def is_up(self, name: str) -> bool:
        """What DescribeInstanceStatus would say."""
        with self.database.transaction(mutates=False) as session:
            return session.get_one(Instance, name).reachable_at is not None

    def clear(self) -> None:
        """No instance was ever run."""
        for name, agent in self.agents.items():
            agent.close()
            shutil.rmtree(self.state.instance(name).root)
        self.agents.clear()
        self.machines = StubMachines()
        self.host.machines = cast("Machines", self.machines)
        self.host.in_doubt.clear()
        with self.database.transaction() as session:
            for model in (NetworkInterface, Volume, Snapshot, Instance):
                session.execute(sa.delete(model))

    def close(self) -> None:
        """End everything."""
        self.clear()
        self.loop.close()
        self.database.close()


@contextmanager
def start_stub_host() -> Iterator[StubHost]:
    """A host for the length of a module."""
    root = Path(tempfile.mkdtemp(prefix="bakehouse-"))  # a short path: sockets lie below it
    host = StubHost(root)
    try:
        yield host
    finally:
        host.close()
        shutil.rmtree(root)


def _instance(name: str, *, is_known_up: bool) -> Instance:
    return Instance(
        instance_id=name,
        account_id=ACCOUNT,
        reservation_id="r-1",
        state="running",
        instance_type="t3.nano",
        image_id="ami-1",
        boot_mode="uefi",
        machine_uuid="",
        vpc_id="vpc-1",
        subnet_id="subnet-1",
        availability_zone="us-east-1a",
        root_device_name="/dev/xvda",
        metadata_options={},
        reachable_at=now() if is_known_up else None,
    )


def _interface(name: str, *, private_ip: str) -> NetworkInterface:
    return NetworkInterface(
        interface_id=f"eni-of-{name}",
        account_id=ACCOUNT,
        instance_id=name,
        attachment_id=f"eni-attach-of-{name}",
        vpc_id="vpc-1",
        subnet_id="subnet-1",
        mac_address="02:00:00:00:00:01",
        private_ip=private_ip,
    )
