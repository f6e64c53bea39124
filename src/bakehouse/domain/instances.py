"""Instances: states, who may see them, and what RunInstances writes.

Invariant: ``set_state`` is the only place that changes an instance's state, along TRANSITIONS.
"""

import secrets
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from bakehouse.database.models import (
    Image,
    Instance,
    InterfaceGroup,
    NetworkInterface,
    SecurityGroup,
    Subnet,
    Volume,
    now,
)
from bakehouse.database.session import everywhere
from bakehouse.domain import addresses, instance_types, product_codes, vpcs
from bakehouse.domain.block_devices import PlannedVolume
from bakehouse.domain.iam.passing import ProfileWithRole, remove_profile, set_profile
from bakehouse.errors import ApiError
from bakehouse.ids import Prefix, is_well_formed, new_id


class State(StrEnum):
    """Instance states, in the model's words."""

    PENDING = "pending"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"
    STOPPING = "stopping"
    STOPPED = "stopped"


# EC2's numeric codes of the states.
STATE_CODES = {
    State.PENDING: 0,
    State.RUNNING: 16,
    State.SHUTTING_DOWN: 32,
    State.TERMINATED: 48,
    State.STOPPING: 64,
    State.STOPPED: 80,
}

TRANSITIONS: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.RUNNING, State.SHUTTING_DOWN, State.TERMINATED, State.STOPPED}),
    State.RUNNING: frozenset({State.STOPPING, State.STOPPED, State.SHUTTING_DOWN, State.TERMINATED}),
    State.STOPPING: frozenset({State.STOPPED, State.SHUTTING_DOWN, State.TERMINATED}),
    State.STOPPED: frozenset({State.PENDING, State.SHUTTING_DOWN, State.TERMINATED}),
    State.SHUTTING_DOWN: frozenset({State.TERMINATED}),
    State.TERMINATED: frozenset(),
}

# A terminated instance stays describable for an hour, as on EC2.
TERMINATED_VISIBLE_S = 3600
_MEMORY_HELD = (State.PENDING, State.RUNNING, State.STOPPING, State.SHUTTING_DOWN)
_MAX_UID_NUMBER = 60_000


@dataclass(frozen=True, kw_only=True)
class LaunchRequest:
    """RunInstances, checked and resolved: everything that is the same for each instance of a reservation."""

    image: Image
    instance_type: instance_types.InstanceType
    subnet: Subnet
    groups: Sequence[SecurityGroup]
    volumes: Sequence[PlannedVolume]
    public_network: IPv4Network | None
    key_name: str | None = None
    public_key: str | None = None
    user_data: bytes | None = None
    private_ip: str | None = None
    client_token: str | None = None
    shutdown_behavior: str = "stop"
    disable_api_termination: bool = False
    disable_api_stop: bool = False
    ebs_optimized: bool = False
    metadata_options: dict[str, Any] = field(default_factory=dict)
    interface_description: str = ""
    profile: ProfileWithRole | None = None


def launch(session: Session, account_id: str, request: LaunchRequest, count: int) -> list[Instance]:
    """Write the rows of ``count`` pending instances of one reservation, with interfaces and volumes."""
    reservation_id = new_id(Prefix.RESERVATION)
    created_at = request.image.last_launched_at = now()
    launched = []
    for index in range(count):
        instance = _instance_row(session, account_id, request, reservation_id, index)
        instance.created_at = instance.launched_at = created_at
        session.add(instance)
        session.flush()
        session.add(_interface_row(session, instance, request))
        session.add_all(
            _volume_row(session, instance, planned, slot, request.image) for slot, planned in enumerate(request.volumes)
        )
        session.flush()
        session.refresh(instance)
        if request.profile is not None:
            set_profile(instance, request.profile.profile)
        launched.append(instance)
    return launched


def count_fitting(
    session: Session,
    instance_type: instance_types.InstanceType,
    minimum: int,
    maximum: int,
    *,
    memory_mib: int,
    overhead_mib: int,
) -> int:
    """Return how many, at most ``maximum``, fit into the host's ``memory_mib``.

    Each machine takes ``overhead_mib`` of it besides the memory of its type.
    InsufficientInstanceCapacity for fewer than ``minimum``.
    """
    held = session.scalars(everywhere(select(Instance.instance_type).where(Instance.state.in_(_MEMORY_HELD))))
    used = sum(instance_types.get_instance_type(name).memory_mib + overhead_mib for name in held)
    left_mib, each_mib = max(0, memory_mib - used), instance_type.memory_mib + overhead_mib
    fitting = min(maximum, left_mib // each_mib)
    if fitting < minimum:
        raise ApiError(
            "InsufficientInstanceCapacity",
            f"This host has {left_mib} MiB of memory left; {minimum} x {instance_type.name} "
            f"needs {minimum * each_mib} MiB.",
        )
    return fitting


def _instance_row(
    session: Session, account_id: str, request: LaunchRequest, reservation_id: str, index: int
) -> Instance:
    return Instance(
        instance_id=new_id(Prefix.INSTANCE),
        account_id=account_id,
        reservation_id=reservation_id,
        state=State.PENDING,
        instance_type=request.instance_type.name,
        image_id=request.image.image_id,
        boot_mode=request.image.boot_mode,
        # EC2's uuids start with "ec2": that is how cloud-init knows where it is.
        machine_uuid=f"ec2{str(uuid.uuid4())[3:]}",
        uid_number=free_uid_number(session),
        vpc_id=request.subnet.vpc_id,
        subnet_id=request.subnet.subnet_id,
        availability_zone=request.subnet.availability_zone,
        key_name=request.key_name,
        public_key=request.public_key,
        user_data=request.user_data,
        root_device_name=request.image.root_device_name,
        ami_launch_index=index,
        client_token=request.client_token,
        disable_api_termination=request.disable_api_termination,
        disable_api_stop=request.disable_api_stop,
        shutdown_behavior=request.shutdown_behavior,
        ebs_optimized=request.ebs_optimized,
        metadata_options=request.metadata_options,
        product_codes=product_codes.of_image(session, request.image),
    )


def free_uid_number(session: Session) -> int:
    """Return the smallest uid number no machine holds."""
    query = select(Instance.uid_number).where(Instance.uid_number.is_not(None))
    taken = set(session.scalars(everywhere(query)))
    return next(number for number in range(1, _MAX_UID_NUMBER) if number not in taken)


def _interface_row(session: Session, instance: Instance, request: LaunchRequest) -> NetworkInterface:
    public = request.public_network
    return NetworkInterface(
        interface_id=new_id(Prefix.NETWORK_INTERFACE),
        attachment_id=new_id(Prefix.NETWORK_INTERFACE_ATTACHMENT),
        account_id=instance.account_id,
        instance_id=instance.instance_id,
        vpc_id=instance.vpc_id,
        subnet_id=instance.subnet_id,
        mac_address=addresses.new_mac_address(),
        private_ip=vpcs.allocate_private_ip(session, request.subnet, request.private_ip),
        public_ip=addresses.allocate_public_ip(session, public) if public else None,
        associates_public_ip=public is not None,
        description=request.interface_description,
        groups=[
            InterfaceGroup(group_id=group.group_id, position=position) for position, group in enumerate(request.groups)
        ],
    )


def _volume_row(session: Session, instance: Instance, planned: PlannedVolume, slot: int, image: Image) -> Volume:
    under = product_codes.of_snapshots(session, [planned.snapshot_id] if planned.snapshot_id else [])
    return Volume(
        volume_id=new_id(Prefix.VOLUME),
        account_id=instance.account_id,
        availability_zone=instance.availability_zone,
        size_gib=planned.size_gib,
        volume_type=planned.volume_type,
        iops=planned.iops,
        throughput_mibps=planned.throughput_mibps,
        snapshot_id=planned.snapshot_id,
        captured_snapshot_id=planned.snapshot_id,
        state="in-use",
        instance_id=instance.instance_id,
        device_name=planned.device_name,
        slot=slot,
        attachment_state="attaching",
        attached_at=now(),
        delete_on_termination=planned.delete_on_termination,
        # Under another account's image a snapshot may lack the image's codes.
        product_codes=product_codes.merge(under, image.product_codes) if planned.is_of_image else under,
    )


def visible(session: Session, account_id: str, instance_ids: Sequence[str] = ()) -> list[Instance]:
    """The blessed select: the account's instances, newest reservation last, without long-gone ones."""
    query = (
        select(Instance)
        .where(Instance.account_id == account_id)
        .options(
            joinedload(Instance.interface).selectinload(NetworkInterface.groups),
            joinedload(Instance.interface).joinedload(NetworkInterface.elastic_address),
            selectinload(Instance.volumes),
        )
        .order_by(Instance.created_at, Instance.reservation_id, Instance.ami_launch_index)
    )
    if instance_ids:
        check_ids(instance_ids)
        query = query.where(Instance.instance_id.in_(instance_ids))
    found = [instance for instance in session.scalars(query) if not _is_forgotten(instance)]
    missing = set(instance_ids) - {instance.instance_id for instance in found}
    if missing:
        raise _not_found(missing)
    return found


def get(session: Session, account_id: str, instance_id: str) -> Instance:
    """Return one of the account's instances; InvalidInstanceID.NotFound or .Malformed otherwise."""
    return visible(session, account_id, [instance_id])[0]


def get_any(session: Session, instance_id: str) -> Instance:
    """Return an instance whoever owns it: for workflows only."""
    return session.scalars(select(Instance).where(Instance.instance_id == instance_id)).one()


def check_ids(instance_ids: Iterable[str]) -> None:
    """Raise InvalidInstanceID.Malformed for what cannot be an instance id."""
    for instance_id in instance_ids:
        if not is_well_formed(Prefix.INSTANCE, instance_id):
            raise ApiError("InvalidInstanceID.Malformed", f'Invalid id: "{instance_id}"')


def _not_found(missing: Iterable[str]) -> ApiError:
    names = sorted(missing)
    if len(names) == 1:
        return ApiError("InvalidInstanceID.NotFound", f"The instance ID '{names[0]}' does not exist")
    return ApiError("InvalidInstanceID.NotFound", f"The instance IDs '{', '.join(names)}' do not exist")


def _is_forgotten(instance: Instance) -> bool:
    return (
        instance.terminated_at is not None and (now() - instance.terminated_at).total_seconds() > TERMINATED_VISIBLE_S
    )


def set_state(
    instance: Instance,
    state: State,
    *,
    code: str | None = None,
    message: str | None = None,
    transition: str = "",
) -> None:
    """Move an instance along TRANSITIONS; staying where it is is allowed (steps run again)."""
    current = State(instance.state)
    if state != current and state not in TRANSITIONS[current]:
        raise ApiError(
            "IncorrectInstanceState",
            f"The instance '{instance.instance_id}' is not in a state from which it can be {state}.",
        )
    instance.state = state
    instance.state_reason_code = code
    instance.state_reason_message = message
    instance.state_transition_reason = transition
    if state != State.RUNNING:
        instance.reachable_at = instance.unreachable_since = None
    if state == State.TERMINATED and instance.terminated_at is None:
        instance.terminated_at = now()


def release(session: Session, instance: Instance) -> None:
    """Give back what a terminated instance held: addresses, group memberships, uid, kept volumes."""
    if instance.interface is not None:
        elastic = instance.interface.elastic_address
        if elastic is not None:
            elastic.interface = elastic.association_id = None
            session.flush()
        session.delete(instance.interface)
    instance.uid_number = None
    remove_profile(instance)
    for volume in instance.volumes:
        if not volume.delete_on_termination:
            detach(volume)


def detach(volume: Volume) -> None:
    """Make a volume available again."""
    volume.state = "available"
    volume.instance_id = volume.device_name = volume.slot = None
    volume.attachment_state = volume.attached_at = None
    volume.delete_on_termination = False


def user_request_reason() -> str:
    """EC2's transition reason for what a user asked for."""
    return f"User initiated ({now():%Y-%m-%d %H:%M:%S} GMT)"


def new_token() -> str:
    """A fresh suffix for a workflow id: one per intent."""
    return secrets.token_hex(6)
