"""A host on paper: real rows; machines, networks and the engine are made up, for steps of workflows by themselves.

What real parts do in the same steps is tested elsewhere; here they can fail at will, and nothing takes time.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, cast

from bakehouse.database.migrate import migrate
from bakehouse.database.models import Image, Instance
from bakehouse.database.session import Database
from bakehouse.domain import accounts, instance_types, instances, vpcs
from bakehouse.domain.block_devices import PlannedVolume
from bakehouse.domain.instances import LaunchRequest, State
from bakehouse.errors import PartError
from bakehouse.hypervisor.spec import Accelerator, MachineError
from bakehouse.settings import Settings
from bakehouse.workflows.host import Host

ROOT_DEVICE = "/dev/xvda"
_REGION = "us-east-1"
_PUBLIC = IPv4Network("127.99.0.0/24")


@dataclass
class PaperMachine:
    """A machine whose guest goes down when asked to, unless it ``is_deaf``."""

    state: str = "running"
    is_deaf: bool = False
    boots: int = 1
    when_asked: Callable[[], None] = lambda: None
    # How long it was given to power down, each time.
    patience_s: list[float] = field(default_factory=list)

    def status(self) -> str:
        return self.state

    def power_down(self, *, timeout_s: float) -> bool:
        self.patience_s.append(timeout_s)
        return False

    def quit(self) -> None:
        self.state = "ended"

    def shut_down_for_boot(self, *, timeout_s: float) -> bool:
        assert timeout_s > 0
        self.when_asked()
        if not self.is_deaf:
            self.state = "shutdown"
        return self.state == "shutdown"

    def pause(self) -> None:
        self.state = "paused"

    def boot_again(self) -> None:
        self.boots += self.state != "running"
        self.state = "running"

    def captures(self) -> list[str]:
        return []


@dataclass
class PaperMachines:
    """Those that run; ``watched`` counts how often each was asked to be watched."""

    running: dict[str, PaperMachine] = field(default_factory=dict)
    watched: list[str] = field(default_factory=list)
    do_not_answer: bool = False
    # What ending a machine did to each.
    ended: list[str] = field(default_factory=list)

    def find(self, instance_id: str) -> PaperMachine | None:
        if self.do_not_answer and instance_id in self.running:
            raise MachineError(f"{instance_id} does not answer")
        return self.running.get(instance_id)

    def all_running(self) -> list[str]:
        return sorted(self.running)

    def pids(self) -> dict[str, int]:
        return {instance_id: 1 + number for number, instance_id in enumerate(self.running)}

    def watch(self, instance_id: str, _on_exit: object) -> None:
        self.find(instance_id)
        self.watched.append(instance_id)

    def kill(self, instance_id: str) -> None:
        self.running.pop(instance_id, None)
        self.ended.append(instance_id)

    def remove(self, instance_id: str) -> None:
        """Its files: there are none."""


@dataclass
class PaperNetwork:
    """A VPC's network; ``restored`` has the interfaces it was told of, each time."""

    restored: list[list[str]] = field(default_factory=list)
    fails: bool = False

    def set_groups(self, _groups: object) -> None:
        if self.fails:
            raise PartError("this network cannot be changed now")

    def restore(self, _groups: object, interfaces: Any) -> None:
        self.set_groups(_groups)
        self.restored.append(sorted(one.interface_id for one in interfaces))

    def interface_ids(self) -> list[str]:
        return self.restored[-1] if self.restored else []


@dataclass
class PaperNetworks:
    """VPCs that are up; one that ``fails`` is not brought up."""

    up: dict[str, PaperNetwork] = field(default_factory=dict)
    fails: bool = False

    def vpc_ids(self) -> list[str]:
        return sorted(self.up)

    def get(self, vpc_id: str) -> PaperNetwork:
        return self.up[vpc_id]

    def ensure(self, spec: Any, *, member_pids: object) -> PaperNetwork:
        assert member_pids is not None
        if self.fails:
            raise PartError("no network now")
        return self.up.setdefault(spec.vpc_id, PaperNetwork())

    def shut_down(self, vpc_id: str) -> None:
        if self.fails:
            raise PartError("no network can be ended now")
        self.up.pop(vpc_id, None)


class PaperEngine:
    """Steps are calls."""

    def step(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    def unfinished_ids(self, _session: object) -> set[str]:
        return set()

    def forget_ended(self, *, older_than_s: float) -> int:
        return int(older_than_s * 0)


class PaperHost(Host):
    """``enqueued`` has the workflows that were asked for: name and subject."""

    enqueued: list[tuple[str, str]]

    def enqueue(self, _session: object, name: str, *arguments: Any, key: str, workflow_id: str) -> None:
        assert key
        assert workflow_id
        self.enqueued.append((name, str(arguments[0])))

    def find_network(self, vpc_id: str) -> Any:
        return self.networks.up.get(vpc_id)  # type: ignore[attr-defined]  # they are on paper

    @property
    def paper(self) -> PaperMachines:
        return cast("PaperMachines", self.machines)

    @property
    def paper_networks(self) -> PaperNetworks:
        return cast("PaperNetworks", self.networks)

    def instance(self, instance_id: str) -> Instance:
        """The row as it is now, with all that belongs to it."""
        with self.database.transaction(mutates=False) as session:
            row = instances.get_any(session, instance_id)
            assert row.volumes is not None
            assert row.interface is None or row.interface.elastic_address is None
            return row

    def change(self, instance_id: str, change: Callable[[Instance], object]) -> None:
        """Change the row."""
        with self.database.transaction() as session:
            change(instances.get_any(session, instance_id))

    def launch(self, state: State = State.RUNNING) -> str:
        """An instance in this state, with a root volume, that has run if it is not pending; its machine runs."""
        with self.database.transaction(region=_REGION) as session:
            account = accounts.list_accounts(session)[0].account_id
            image = Image(image_id="ami-00000000", boot_mode="legacy-bios", root_device_name=ROOT_DEVICE)
            image.product_codes, image.block_device_mappings = [], []
            root = PlannedVolume(
                device_name=ROOT_DEVICE,
                size_gib=1,
                snapshot_id=None,
                volume_type="gp3",
                iops=None,
                throughput_mibps=None,
                delete_on_termination=True,
                is_root=True,
                is_of_image=False,
            )
            request = LaunchRequest(
                image=image,
                instance_type=instance_types.get_instance_type("t3.nano"),
                subnet=vpcs.default_subnet(session, account),
                groups=[],
                volumes=[root],
                public_network=_PUBLIC,
            )
            (row,) = instances.launch(session, account, request, 1)
            row.state = state
            if state != State.PENDING:
                row.volumes[0].attachment_state = "attached"
            instance_id = row.instance_id
        self.paper.running[instance_id] = PaperMachine()
        return instance_id


@cache
def _empty_rows() -> bytes:
    """A database at the newest schema; making one takes longer than any test here."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "rows.db"
        database = Database(f"sqlite:///{file}")
        migrate(database)
        database.close()
        return file.read_bytes()


@contextmanager
def paper_host(directory: Path) -> Iterator[PaperHost]:
    """A host whose files would lie below ``directory``."""
    (directory / "rows.db").write_bytes(_empty_rows())
    database = Database(f"sqlite:///{directory / 'rows.db'}")
    with database.transaction(region=_REGION) as session:
        accounts.create_account(session, regions=[_REGION])
    unused = cast("Any", None)
    host = PaperHost(
        settings=Settings(state_root=directory / "state"),
        database=database,
        engine=cast("Any", PaperEngine()),
        loop=unused,
        machines=cast("Any", PaperMachines()),
        networks=cast("Any", PaperNetworks()),
        snapshots=unused,
        bases=unused,
        accelerator=Accelerator.TCG,
        memory_mib=1 << 20,
        is_root=False,
    )
    host.enqueued = []
    yield host
    database.close()
