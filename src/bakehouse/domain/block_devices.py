"""Block device mappings: which volumes an instance of an image gets, and what a new image may name.

Invariant: whatever passes here can be made: its size, type, device name and snapshot are checked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import Image, Snapshot, Volume
from bakehouse.domain import snapshots, volume_types, volumes

_DEFAULT_TYPE = "gp3"


@dataclass(frozen=True, kw_only=True)
class PlannedVolume:
    """One volume to make at launch."""

    device_name: str
    size_gib: int
    snapshot_id: str | None
    volume_type: str
    iops: int | None
    throughput_mibps: int | None
    delete_on_termination: bool
    is_root: bool
    # It lies over the snapshot that the image maps to this device.
    is_of_image: bool


def plan_volumes(
    session: Session, account_id: str, image: Image, overrides: Sequence[Mapping[str, Any]]
) -> list[PlannedVolume]:
    """Merge overrides into the image's mappings by device name; root first.

    Raises what EC2 answers to RunInstances: InvalidBlockDeviceMapping for a mapping that cannot be made,
    InvalidSnapshot.NotFound for a snapshot the account cannot see.
    """
    given = {one["DeviceName"]: one["Ebs"] for one in image.block_device_mappings if "Ebs" in one}
    root = image.root_device_name
    if "SnapshotId" not in given.get(root, {}):
        raise errors.block_device_mapping_invalid(f"The image '{image.image_id}' has no snapshot of its root, {root}.")
    return [
        plan_volume(
            session,
            account_id,
            name,
            ebs,
            # Whoever may launch the image may launch what it lies on, as it lies on it.
            image_snapshot_id=given.get(name, {}).get("SnapshotId"),
            is_root=name == root,
        )
        for name, ebs in override_mappings(given, root, overrides)
    ]


def override_mappings(
    given: Mapping[str, Mapping[str, Any]], root_device_name: str, overrides: Sequence[Mapping[str, Any]]
) -> list[tuple[str, Mapping[str, Any]]]:
    """Merge a request's mappings into those an image or an instance has, by device name; root first."""
    merged = dict(given)
    for name, override in by_device_name(overrides).items():
        if "NoDevice" in override:
            if name == root_device_name:
                raise errors.block_device_mapping_invalid("The root device cannot be left out.")
            merged.pop(name, None)
        elif "VirtualName" in override:
            continue  # instance store names; our types have none, and EC2 ignores them then
        else:
            merged[name] = _merge(name, merged.get(name), override.get("Ebs", {}))
    if len(merged) > volumes.MAX_ATTACHED:
        raise errors.block_device_mapping_invalid(f"An instance has at most {volumes.MAX_ATTACHED} volumes.")
    return sorted(merged.items(), key=lambda item: (item[0] != root_device_name, item[0]))


def by_device_name(mappings: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return a request's mappings by device name; refuse a missing, malformed or repeated name."""
    found: dict[str, Mapping[str, Any]] = {}
    for mapping in mappings:
        name = mapping.get("DeviceName")
        if not name:
            raise errors.missing_parameter("DeviceName")
        if not volumes.is_device_name(name):
            raise errors.block_device_mapping_invalid(f"Invalid device name {name}")
        if name in found:
            raise errors.block_device_mapping_invalid(
                f"The device '{name}' is used in more than one block-device mapping"
            )
        found[name] = mapping
    return found


def _merge(name: str, given: Mapping[str, Any] | None, override: Mapping[str, Any]) -> dict[str, Any]:
    if given is None:
        return dict(override)
    if "SnapshotId" in override and override["SnapshotId"] != given.get("SnapshotId"):
        raise errors.block_device_mapping_invalid(f"snapshotId cannot be modified on device {name}")
    merged = {**given, **override}
    if override.get("VolumeType", given.get("VolumeType")) != given.get("VolumeType"):
        # The image's figures belong to the image's type.
        for member in {"Iops", "Throughput"} - override.keys():
            merged.pop(member, None)
    return merged


def plan_volume(
    session: Session,
    account_id: str,
    name: str,
    ebs: Mapping[str, Any],
    *,
    image_snapshot_id: str | None = None,
    is_root: bool = False,
) -> PlannedVolume:
    """Check one EBS mapping. ``image_snapshot_id`` is what an image has at this device: usable whoever owns it."""
    is_of_image = image_snapshot_id is not None and ebs.get("SnapshotId") == image_snapshot_id
    snapshot = (
        session.get_one(Snapshot, image_snapshot_id)
        if is_of_image
        else _snapshot(session, account_id, ebs.get("SnapshotId"))
    )
    volume_type = ebs.get("VolumeType", _DEFAULT_TYPE)
    if is_root and not volume_types.can_boot(volume_type):
        raise errors.block_device_mapping_invalid(f"A root volume cannot be of type {volume_type}.")
    size_gib = ebs.get("VolumeSize", snapshot.volume_size_gib if snapshot else None)
    if size_gib is None:
        raise errors.block_device_mapping_invalid(f"Device {name} needs a volume size or a snapshot.")
    if snapshot is not None and size_gib < snapshot.volume_size_gib:
        raise errors.block_device_mapping_invalid(
            f"Volume of size {size_gib}GB is smaller than snapshot '{snapshot.snapshot_id}', expect size >= "
            f"{snapshot.volume_size_gib}GB"
        )
    performance = volume_types.performance_of(volume_type, size_gib, ebs.get("Iops"), ebs.get("Throughput"))
    return PlannedVolume(
        device_name=name,
        size_gib=size_gib,
        snapshot_id=snapshot.snapshot_id if snapshot else None,
        volume_type=volume_type,
        iops=performance.iops,
        throughput_mibps=performance.throughput_mibps,
        delete_on_termination=ebs.get("DeleteOnTermination", True),
        is_root=is_root,
        is_of_image=is_of_image,
    )


def image_mapping(planned: PlannedVolume, ebs: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping an image keeps, in the API's shape; performance only where it was asked for (``ebs``)."""
    mapping: dict[str, Any] = {
        "DeleteOnTermination": planned.delete_on_termination,
        "VolumeSize": planned.size_gib,
        "VolumeType": planned.volume_type,
        "Encrypted": False,
        **{member: ebs[member] for member in ("Iops", "Throughput") if ebs.get(member) is not None},
    }
    if planned.snapshot_id is not None:
        mapping["SnapshotId"] = planned.snapshot_id
    return {"DeviceName": planned.device_name, "Ebs": mapping}


def ebs_of(volume: Volume) -> dict[str, Any]:
    """An attached volume as a mapping's ``Ebs``, without a snapshot."""
    return {
        "DeleteOnTermination": volume.delete_on_termination,
        "VolumeSize": volume.size_gib,
        "VolumeType": volume.volume_type,
        **volume_types.chosen_figures(volume.volume_type, volume.iops, volume.throughput_mibps),
    }


def registered_mappings(
    session: Session, account_id: str, root_device_name: str, mappings: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Check RegisterImage's mappings and return what the image keeps, root first."""
    given = {name: one["Ebs"] for name, one in by_device_name(mappings).items() if "Ebs" in one}
    if "SnapshotId" not in given.get(root_device_name, {}):
        raise errors.block_device_mapping_invalid(f"The root device {root_device_name} needs a snapshot.")
    ordered = sorted(given.items(), key=lambda item: (item[0] != root_device_name, item[0]))
    return [
        image_mapping(plan_volume(session, account_id, name, ebs, is_root=name == root_device_name), ebs)
        for name, ebs in ordered
    ]


def _snapshot(session: Session, account_id: str, snapshot_id: str | None) -> Snapshot | None:
    return snapshots.get_completed(session, account_id, snapshot_id) if snapshot_id is not None else None
