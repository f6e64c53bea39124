"""The only place that builds concrete objects and wires them together."""

import fcntl
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from sqlalchemy.orm import Session

from bakehouse.api.gateway import Gateway
from bakehouse.api.http import create_app
from bakehouse.api.registry import discover
from bakehouse.api.server import make_server
from bakehouse.api.sigv4 import Secret
from bakehouse.api.stored_tokens import StoredTokens
from bakehouse.database.errors import database_errors_translated
from bakehouse.database.migrate import migrate
from bakehouse.database.session import Database
from bakehouse.database.sqlite_file import check_file, make_private, reserve_room
from bakehouse.domain import accounts, organizations
from bakehouse.domain.iam import keys
from bakehouse.durable.engine import Engine, StepObserver
from bakehouse.errors import PartError
from bakehouse.guest.base_image.recipe import DEFAULT_RELEASE
from bakehouse.guest.metadata import MetadataServer
from bakehouse.host import diagnosis
from bakehouse.host.endpoint import (
    AdministratorKey,
    Endpoint,
    find_endpoint,
    remove_endpoint,
    write_administrator_key,
    write_endpoint,
)
from bakehouse.host.files import make_passable_directory, open_private
from bakehouse.host.loop import HostLoop
from bakehouse.host.memory import total_memory_mib
from bakehouse.hypervisor.accelerator import AcceleratorFinding, find_accelerator
from bakehouse.hypervisor.machine import Machines
from bakehouse.network.vpc import VpcNetworks
from bakehouse.settings import Settings
from bakehouse.storage.bases import Bases
from bakehouse.storage.object_store import open_object_store
from bakehouse.storage.snapshots import Snapshots
from bakehouse.storage.store_lock import StoreLock
from bakehouse.workflows import (
    add_image,
    apply_firewall,
    capture,
    copies,
    end_instance,
    launch_instance,
    machine_exited,
    modify_volume,
    reboot_instance,
    replace_root_volume,
    store_care,
    volumes,
)
from bakehouse.workflows.host import Host
from bakehouse.workflows.metadata import find_metadata, mint_credentials
from bakehouse.workflows.reachability import ReachabilityWatch
from bakehouse.workflows.reconcile import take_up_work
from bakehouse.workflows.upkeep import Upkeep

_HOST_NAME = "local"
_STOP_TIMEOUT_S = 60
_LOCK_POLL_S = 0.1
_BACKLOG = 2048
_UMASK = 0o077
_FIRST_ACCOUNT_ALIAS = "main"

WORKFLOWS: dict[str, Callable[..., None]] = {
    "abandon_capture": capture.abandon_capture,
    "apply_firewall": apply_firewall.apply_firewall,
    "attach_volume": volumes.attach_volume,
    "capture_image": capture.capture_image,
    "capture_snapshot": capture.capture_snapshot,
    "copy_image": copies.copy_image,
    "copy_snapshot": copies.copy_snapshot,
    "create_volume": volumes.create_volume,
    "delete_volume": volumes.delete_volume,
    "detach_volume": volumes.detach_volume,
    "launch_instance": launch_instance.launch_instance,
    "machine_exited": machine_exited.machine_exited,
    "modify_volume": modify_volume.modify_volume,
    "reboot_instance": reboot_instance.reboot_instance,
    "replace_root_volume": replace_root_volume.replace_root_volume,
    # Starting is launching: every step finds what is there already.
    "start_instance": launch_instance.launch_instance,
    "stop_instance": end_instance.stop_instance,
    "terminate_instance": end_instance.terminate_instance,
}


def probe_accelerator(settings: Settings) -> AcceleratorFinding:
    """KVM if it is wanted and really works for an unprivileged machine, else TCG; probed once per host boot."""
    uid = settings.uid_base if os.geteuid() == 0 else None
    return find_accelerator(settings.state, wanted=settings.accelerator, uid=uid)


def make_state_directories(settings: Settings) -> None:
    """The state directory; machines pass through it to their own files only."""
    state = settings.state
    for directory in (settings.state_root, state.instances, state.volumes, state.disk_servers):
        make_passable_directory(directory)


def open_database(settings: Settings) -> Database:
    """The configured database, at the newest schema."""
    make_state_directories(settings)
    url = settings.database_url or f"sqlite:///{settings.state.database}"
    with database_errors_translated("the database"):
        database = Database(url)
        make_private(database)
        check_file(database)
        migrate(database)
    return database


def open_snapshots(settings: Settings) -> Snapshots:
    """The configured block store."""
    objects = open_object_store(
        settings.block_store_url,
        directory=settings.state.blocks,
        credentials={
            "access_key_id": settings.block_store_access_key_id,
            "secret_access_key": settings.block_store_secret_access_key,
        },
    )
    return Snapshots(objects, StoreLock(settings.state.block_store_lock))


@contextmanager
def open_host(settings: Settings, *, after_step: StepObserver | None = None) -> Iterator[Host]:
    """Every part of this host, connected; on the way out the parts let go and the machines run on."""
    with ExitStack() as stack:
        database = open_database(settings)
        stack.callback(database.close)
        reserve_room(database)
        loop = HostLoop()
        stack.callback(loop.close)
        machines = Machines(loop, settings.state)
        stack.callback(machines.close)
        metadata = MetadataServer(partial(find_metadata, database), partial(mint_credentials, database))
        networks = VpcNetworks(
            loop,
            settings.state,
            public_network=settings.public_network,
            serve_metadata=metadata.serve,
        )
        stack.callback(networks.close)
        store = open_snapshots(settings)
        engine = Engine(database, host_name=_HOST_NAME, after_step=after_step)
        host = Host(
            settings=settings,
            database=database,
            engine=engine,
            loop=loop,
            machines=machines,
            networks=networks,
            snapshots=store,
            bases=Bases(settings.state, store),
            accelerator=probe_accelerator(settings).accelerator,
            memory_mib=total_memory_mib() - settings.reserved_memory_mib,
            is_root=os.geteuid() == 0,
        )
        for name, workflow in WORKFLOWS.items():
            engine.register(name, partial(workflow, host))
        stack.callback(engine.close)
        yield host


@contextmanager
def hold_lock(settings: Settings, *, timeout_s: float = 0) -> Iterator[None]:
    """Be the one service of this state directory; BlockingIOError when another is, still after ``timeout_s``."""
    make_state_directories(settings)
    deadline = time.monotonic() + timeout_s
    # Whoever may open it may hold it.
    with open_private(settings.state.lock) as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_LOCK_POLL_S)
        yield


def ensure_first_account(database: Database, settings: Settings) -> AdministratorKey | None:
    """Make the first account at the first start; its key is returned once and kept in the state directory."""
    with database.transaction() as session:
        accounts.ensure_amazon_account(session, regions=settings.regions)
        accounts.ensure_regions(session, settings.regions)
        if accounts.find_account(session, _FIRST_ACCOUNT_ALIAS) is not None:
            return None
        key = _new_account(session, settings, _FIRST_ACCOUNT_ALIAS)
        # Before the commit: an account whose key nobody ever saw would be lost.
        write_administrator_key(settings.state, key)
        return key


def _new_account(session: Session, settings: Settings, alias: str | None) -> AdministratorKey:
    account = accounts.create_account(session, regions=settings.regions, alias=alias)
    key = accounts.create_access_key(session, account.account_id)
    return AdministratorKey(
        account_id=account.account_id,
        access_key_id=key.access_key_id,
        secret_access_key=key.secret_access_key,
    )


def make_gateway(host: Host) -> Gateway:
    """The API over this host."""
    with host.database.transaction() as session:
        page_key = accounts.ensure_page_token_key(session)

    def find_secret(access_key_id: str) -> Secret | None:
        with host.database.transaction(mutates=False) as session:
            found = keys.find_key(session, access_key_id)
        if found is None:
            return None
        return Secret(
            access_key_id=access_key_id,
            secret_access_key=found.secret_access_key,
            principal=found.principal,
            session_token=found.session_token,
            expires_at=found.expires_at,
        )

    return Gateway(
        registry=discover(),
        regions=host.settings.regions,
        credentials=find_secret,
        transaction=host.database.transaction,
        tokens=StoredTokens(),
        page_key=page_key,
        host=host,
    )


def run_service(
    settings: Settings,
    *,
    on_ready: Callable[[Endpoint, AdministratorKey | None], None],
    after_step: StepObserver | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; machines run on. BlockingIOError when a service runs here already."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # What others may pass through or open says so itself.
    os.umask(_UMASK)
    with hold_lock(settings), _listen(settings) as listener:
        # Whoever left the choice of the port to us learns what it became.
        bound = replace(settings, listen_port=listener.getsockname()[1])
        with open_host(bound, after_step=after_step) as host:
            _serve(host, listener, on_ready)


def _serve(host: Host, listener: socket.socket, on_ready: Callable[[Endpoint, AdministratorKey | None], None]) -> None:
    settings = host.settings
    first_key = ensure_first_account(host.database, settings)
    gateway = make_gateway(host)
    take_up_work(host)
    add_image.spread(host)
    watch, upkeep = ReachabilityWatch(host), Upkeep(host)
    watch.start()
    upkeep.start()
    server = make_server(create_app(gateway), host=settings.listen_host, port=settings.listen_port)
    url = f"http://{settings.listen_host}:{settings.listen_port}"
    endpoint = Endpoint.of_process(os.getpid(), url=url, regions=settings.regions)
    try:
        # What is here by now stays. Looking through it again and again took a third of a large reply's time.
        gc.freeze()
        write_endpoint(settings.state, endpoint)
        on_ready(endpoint, first_key)
        server.run(sockets=[listener])
    finally:
        remove_endpoint(settings.state)
        watch.close()
        upkeep.close()
        if not host.engine.close():
            logging.getLogger("bakehouse").info("work that is under way goes on at the next start")
            os._exit(0)


def _listen(settings: Settings) -> socket.socket:
    """Take the port before anything is announced; PartError when another program has it."""
    address = (settings.listen_host, settings.listen_port)
    try:
        return socket.create_server(address, backlog=_BACKLOG)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]  # Python names the address, for the second time
        raise PartError(f"cannot listen on {address[0]}:{address[1]}: {reason}") from error


def stop_everything(settings: Settings) -> None:
    """End the service, then shut every machine down cleanly, and the networks; rows stay, as stopped.

    BlockingIOError when the lock of the state directory does not become free.
    """
    endpoint = find_endpoint(settings.state)
    if endpoint is not None:
        os.kill(endpoint.pid, signal.SIGTERM)
    with hold_lock(settings, timeout_s=_STOP_TIMEOUT_S), open_host(settings) as host:
        take_up_work(host)
        end_instance.stop_all(host)


def create_account(
    settings: Settings, alias: str | None, *, organization: str | None = None, units: Sequence[str] = ()
) -> AdministratorKey:
    """Make one more account; ValueError when the alias is taken, or it cannot be where it is to be."""
    database = open_database(settings)
    try:
        with database.transaction() as session:
            key = _new_account(session, settings, alias)
            organizations.place(session, key.account_id, organization, units)
            return key
    finally:
        database.close()


def place_account(settings: Settings, id_or_alias: str, *, organization: str | None, units: Sequence[str]) -> list[str]:
    """Put an account into an organization and units; where it is then. ValueError for what cannot be."""
    database = open_database(settings)
    try:
        with database.transaction() as session:
            account = accounts.find_account(session, id_or_alias)
            if account is None:
                raise ValueError(f"there is no account {id_or_alias}")
            organizations.place(session, account.account_id, organization, units)
            return organizations.places_of(session, account.account_id)
    finally:
        database.close()


@contextmanager
def _storage(settings: Settings) -> Iterator[tuple[Database, Snapshots]]:
    database = open_database(settings)
    try:
        yield database, open_snapshots(settings)
    finally:
        database.close()


def build_base_image(settings: Settings, report: add_image.Report, *, release: str | None = None) -> str:
    """Build and add the base image unless it is there; return its id. May run beside a service.

    ``release`` is Debian's code name; None for the one that instances boot fastest from.
    """
    with _storage(settings) as (database, store):
        return add_image.ensure_base_image(settings, database, store, report, release=release or DEFAULT_RELEASE)


def import_image(settings: Settings, source: Path | str, *, name: str, progress: add_image.Report) -> str:
    """Add a cloud image; return its id. May run beside a service."""
    uid = settings.uid_base if os.geteuid() == 0 else None
    with _storage(settings) as (database, store):
        return add_image.import_disk(settings, database, store, source, name=name, uid=uid, report=progress)


def check_storage(settings: Settings, progress: Callable[[int, int], None]) -> list[store_care.Damage]:
    """Verify every completed snapshot's manifest and blocks, and this host's bases."""
    with _storage(settings) as (database, store):
        return store_care.find_damage(database, store, Bases(settings.state, store), progress)


def collect_garbage(settings: Settings) -> store_care.Collected:
    """Delete what no snapshot needs; StoreBusy while a capture writes."""
    with _storage(settings) as (database, store):
        bases = Bases(settings.state, store)
        return store_care.collect_garbage(database, store, bases, timeout_s=_STOP_TIMEOUT_S)


def diagnose(settings: Settings) -> list[diagnosis.Finding]:
    """Everything ``bakehouse doctor`` shows; a host on which not even the probe runs is diagnosed too."""
    probed = None
    with suppress(PartError):
        probe = probe_accelerator(settings)
        probed = diagnosis.ProbedAccelerator(accelerator=probe.accelerator, reason=probe.reason)
    return diagnosis.diagnose(settings, probed=probed)
