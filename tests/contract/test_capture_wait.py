"""Who takes disks away lets captures end first, and a capture finds its disks wherever they are by then.

Rows and locks are real; the machine is not, so that it changes at the very instants that matter: whenever somebody
waits, the next change of the story is made.
"""

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bakehouse.database.migrate import migrate
from bakehouse.database.models import Account, Instance, Snapshot, Volume
from bakehouse.database.session import Database
from bakehouse.domain import images
from bakehouse.domain import volumes as domain_volumes
from bakehouse.errors import ApiError, PartError
from bakehouse.hypervisor.spec import MachineError
from bakehouse.paths import StateDirectory
from bakehouse.workflows import capture, capture_wait, end_instance, launch_instance, volumes
from bakehouse.workflows.host import Host

pytestmark = pytest.mark.programs

ACCOUNT, REGION = "1" * 12, "us-east-1"
UID_BASE = 1_962_000_000
INSTANCE, VOLUME, SNAPSHOT = "i-0123456789abcdef0", "vol-0123456789abcdef0", "snap-0123456789abcdef0"
Change = Callable[[], object]


class StandIn:
    """A machine that remembers what was asked of it."""

    def __init__(self) -> None:
        self.served: list[str] = []
        self.asked: list[str] = []

    def captures(self) -> list[str]:
        return self.served

    def has_agent(self) -> bool:
        return False

    def power_down(self, *, timeout_s: float) -> bool:
        assert timeout_s
        self.asked.append("power_down")
        return True

    def quit(self) -> None:
        self.asked.append("quit")

    def detach_disk(self, volume_id: str, *, timeout_s: float) -> None:
        assert timeout_s
        self.asked.append(f"detach {volume_id}")

    def begin_capture(self, capture_id: str, disks: Sequence[object], **_: object) -> list[object]:
        assert disks
        self.served = [capture_id]
        self.asked.append("begin_capture")
        return []


class Story:
    """A host with one volume, and what happens to it while somebody waits."""

    def __init__(self, root: Path, rows: Path) -> None:
        self.database = Database(f"sqlite:///{shutil.copy(rows, root)}")
        self.machine: StandIn | None = None
        self.changes: list[Change] = []
        settings = SimpleNamespace(state=StateDirectory(root=root), uid_base=UID_BASE)
        parts: dict[str, Any] = dict.fromkeys(("loop", "networks", "snapshots", "bases"))
        self.host = Host(
            settings=cast("Any", settings),
            database=self.database,
            engine=cast("Any", SimpleNamespace(step=lambda function, *arguments: function(*arguments))),
            machines=cast("Any", SimpleNamespace(find=lambda _: self.machine)),
            accelerator=cast("Any", None),
            memory_mib=0,
            is_root=False,
            **parts,
        )

    def add(self, *, attachment_state: str | None, is_captured: bool = True) -> None:
        """The volume, attached to the instance or to none, and a snapshot of it that has been asked for."""
        is_attached = attachment_state is not None
        with self.database.transaction(region=REGION) as session:
            session.add(Account(account_id=ACCOUNT))
            session.flush()
            session.add(_instance())
            session.flush()
            session.add(
                Volume(
                    volume_id=VOLUME,
                    account_id=ACCOUNT,
                    availability_zone="",
                    size_gib=1,
                    state="in-use" if is_attached else "available",
                    instance_id=INSTANCE if is_attached else None,
                    attachment_state=attachment_state,
                    device_name="/dev/xvda" if is_attached else None,
                )
            )
            session.flush()
            state = "pending" if is_captured else "completed"
            session.add(
                Snapshot(snapshot_id=SNAPSHOT, account_id=ACCOUNT, volume_id=VOLUME, volume_size_gib=1, state=state)
            )

    def attach(self, state: str) -> None:
        """The attachment gets on."""
        with self.database.transaction() as session:
            volume = session.get_one(Volume, VOLUME)
            volume.state, volume.instance_id, volume.attachment_state = "in-use", INSTANCE, state

    def complete(self) -> None:
        """Everything is read."""
        with self.database.transaction() as session:
            session.get_one(Snapshot, SNAPSHOT).state = "completed"

    def serve(self, *capture_ids: str) -> None:
        """The machine serves these captures."""
        assert self.machine is not None
        self.machine.served = list(capture_ids)

    def go_on(self, _seconds: float) -> None:
        """Somebody waits: the next change is made, by another thread, which must find the locks free."""
        change = self.changes.pop(0)

        def make() -> None:
            for owner_id in (INSTANCE, VOLUME):
                assert self.host.locks[owner_id].acquire(timeout=30), f"who waits holds the lock of {owner_id}"
            change()
            for owner_id in (INSTANCE, VOLUME):
                self.host.locks[owner_id].release()

        other = threading.Thread(target=make)
        other.start()
        other.join()


@pytest.fixture(name="rows", scope="module")
def _rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database."""
    path = tmp_path_factory.mktemp("empty") / "rows.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture(name="story")
def _story(tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    story = Story(tmp_path, rows)
    for module in (capture, capture_wait):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=story.go_on, monotonic=lambda: 0.0))
    yield story
    story.database.close()


def test_a_machine_ends_once_what_was_asked_for_is_read_and_no_view_is_served(story: Story) -> None:
    story.machine = machine = StandIn()
    story.add(attachment_state="attached")
    asked_before: list[list[str]] = []

    def change(*capture_ids: str, is_complete: bool = False) -> Change:
        def make() -> None:
            asked_before.append(list(machine.asked))
            story.serve(*capture_ids)
            if is_complete:
                story.complete()

        return make

    story.changes = [change("ami-1"), change("ami-1", is_complete=True), change()]
    end_instance.end_machine(story.host, INSTANCE, 1.0)
    assert asked_before == [[], [], []]
    assert machine.asked == ["power_down", "quit"]


def test_a_disk_leaves_its_guest_once_its_snapshot_is_there(story: Story) -> None:
    story.machine = machine = StandIn()
    story.add(attachment_state="detaching")
    story.changes = [lambda: story.serve(SNAPSHOT), story.complete, story.serve]
    volumes.unplug(story.host, VOLUME, force=False)
    assert not story.changes
    assert machine.asked == [f"detach {VOLUME}"]


def test_a_disk_whose_snapshot_does_not_end_stays_with_its_guest(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    story.machine = machine = StandIn()
    story.add(attachment_state="detaching")
    clock = iter((0.0, capture_wait.CAPTURE_WAIT_S + 1))
    monkeypatch.setattr(capture_wait, "time", SimpleNamespace(sleep=story.go_on, monotonic=lambda: next(clock)))
    with pytest.raises(MachineError, match="captured for too long"):
        volumes.unplug(story.host, VOLUME, force=True)
    assert machine.asked == []


def test_a_deleted_volumes_file_goes_once_its_snapshot_is_there(story: Story) -> None:
    story.add(attachment_state=None)
    files = story.host.settings.state.volume(VOLUME)
    files.root.mkdir(parents=True)
    files.disk.write_bytes(b"data")
    was_there: list[bool] = []
    story.changes = [lambda: was_there.append(files.disk.exists()), story.complete]
    volumes.remove_disk(story.host, VOLUME)
    assert was_there == [True]
    assert not files.root.exists()


def test_a_capture_begun_at_rest_goes_on_through_the_machine_that_was_started_meanwhile(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.add(attachment_state="attached")
    monkeypatch.setattr(capture, "_read", lambda *_: story.complete())
    assert not capture.begin(story.host, SNAPSHOT, True)
    story.machine = machine = StandIn()
    capture.read_offline(story.host, SNAPSHOT)
    assert machine.asked == ["begin_capture", "begin_capture"], "taken, and found taken by who reads"


def test_a_capture_of_a_volume_that_is_being_attached_waits_until_its_machine_has_it(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.add(attachment_state=None)
    monkeypatch.setattr(capture, "_read", lambda *_: story.complete())
    assert not capture.begin(story.host, SNAPSHOT, True)
    story.attach("attaching")
    story.machine = machine = StandIn()
    begun_before: list[list[str]] = []

    def plug_in() -> None:
        begun_before.append(list(machine.asked))
        story.attach("attached")

    story.changes = [plug_in]
    capture.read_offline(story.host, SNAPSHOT)
    assert begun_before == [[]]
    assert machine.asked[:1] == ["begin_capture"]


@pytest.mark.skipif(os.geteuid() != 0, reason="files change hands as root only")
def test_the_files_of_a_volume_that_could_not_be_attached_are_no_machines(story: Story) -> None:
    story.add(attachment_state="attaching", is_captured=False)
    files = story.host.settings.state.volume(VOLUME)
    files.root.mkdir(parents=True)
    files.disk.write_bytes(b"data")
    story.host.is_root = True
    owners: list[int] = []

    def find(_instance_id: str) -> None:
        owners.append(files.disk.stat().st_uid)
        raise MachineError("it does not answer")

    story.host.machines = cast("Any", SimpleNamespace(find=find))
    volumes.attach_volume(story.host, VOLUME)
    assert [*owners, files.disk.stat().st_uid] == [UID_BASE + 1, UID_BASE]
    with story.database.transaction(mutates=False) as session:
        assert session.get_one(Volume, VOLUME).state == "available"


def test_a_volume_that_was_attached_before_is_not_made_anew_when_its_file_is_missing(story: Story) -> None:
    story.add(attachment_state="attached", is_captured=False)
    with pytest.raises(PartError, match=f"the file of {VOLUME} is missing"):
        launch_instance.prepare_volumes(story.host, INSTANCE)
    assert not story.host.settings.state.volume(VOLUME).root.exists()


def test_no_image_is_begun_while_a_volume_comes_or_goes(story: Story) -> None:
    story.add(attachment_state="attaching", is_captured=False)
    with story.database.transaction(region=REGION) as session, pytest.raises(ApiError, match="is attaching"):
        instance = session.get_one(Instance, INSTANCE)
        images.create_from_instance(session, instance, name="half", description="", overrides=())


def test_no_snapshot_is_begun_of_what_goes_with_its_instance(story: Story) -> None:
    story.add(attachment_state="attached", is_captured=False)
    with story.database.transaction(region=REGION) as session:
        volume = session.get_one(Volume, VOLUME)
        domain_volumes.check_capturable(session, volume)
        session.get_one(Instance, INSTANCE).state = "shutting-down"
        with pytest.raises(ApiError, match="is shutting down"):
            domain_volumes.check_capturable(session, volume)


def _instance() -> Instance:
    return Instance(
        instance_id=INSTANCE,
        account_id=ACCOUNT,
        reservation_id="r",
        state="running",
        instance_type="t3.nano",
        image_id="ami-1",
        boot_mode="uefi",
        machine_uuid="",
        uid_number=1,
        vpc_id="",
        subnet_id="",
        availability_zone="",
        root_device_name="/dev/xvda",
        metadata_options={},
    )
