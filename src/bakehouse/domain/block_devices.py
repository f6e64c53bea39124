"""Block device mappings: which volumes an instance of an image gets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import Image, Snapshot
from bakehouse.domain import snapshots

MAX_SIZE_GIB = 16_384
_TYPES = frozenset({"gp2", "gp3", "io1", "io2", "st1", "sc1", "standard"})


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


def plan_volumes(
    session: Session, account_id: str, image: Image, overrides: Sequence[Mapping[str, Any]]
) -> list[PlannedVolume]:
    """Merge overrides into the image's mappings by device name; root first."""
    merged: dict[str, Mapping[str, Any]] = {
        one["DeviceName"]: one for one in image.block_device_mappings if "Ebs" in one
    }
    for override in overrides:
        name = override.get("DeviceName")
        if not name:
            raise errors.missing_parameter("DeviceName")
        if "NoDevice" in override:
            if name == image.root_device_name:
                raise errors.block_device_mapping_invalid("The root device cannot be left out.")
            merged.pop(name, None)
        elif "VirtualName" in override:
            continue  # instance store names; our types have none, and EC2 ignores them then
        else:
            merged[name] = _merge(name, merged.get(name, {}), override.get("Ebs", {}))
    ordered = sorted(merged.items(), key=lambda item: (item[0] != image.root_device_name, item[0]))
    return [_plan(session, account_id, image, name, mapping["Ebs"]) for name, mapping in ordered]


def _merge(name: str, given: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    if given and override.get("SnapshotId", given["Ebs"].get("SnapshotId")) != given["Ebs"].get("SnapshotId"):
        raise errors.block_device_mapping_invalid(f"snapshotId cannot be modified on device {name}")
    ebs = {**given.get("Ebs", {}), **override}
    return {"DeviceName": name, "Ebs": ebs}


def _plan(session: Session, account_id: str, image: Image, name: str, ebs: Mapping[str, Any]) -> PlannedVolume:
    if ebs.get("Encrypted"):
        raise errors.unsupported_operation("Encrypted volumes are not supported.")
    snapshot = _snapshot(session, account_id, image, ebs.get("SnapshotId"))
    volume_type = ebs.get("VolumeType", "gp3")
    if volume_type not in _TYPES:
        raise errors.invalid_value_for("volumeType", volume_type)
    size_gib = ebs.get("VolumeSize") or (snapshot.volume_size_gib if snapshot else None)
    if size_gib is None or not 1 <= size_gib <= MAX_SIZE_GIB:
        raise errors.block_device_mapping_invalid(f"Volume of device {name} needs a size of 1 to {MAX_SIZE_GIB} GiB")
    if snapshot is not None and size_gib < snapshot.volume_size_gib:
        raise errors.block_device_mapping_invalid(
            f"Volume of size {size_gib}GB is smaller than snapshot '{snapshot.snapshot_id}', expect size >= "
            f"{snapshot.volume_size_gib}GB"
        )
    return PlannedVolume(
        device_name=name,
        size_gib=size_gib,
        snapshot_id=snapshot.snapshot_id if snapshot else None,
        volume_type=volume_type,
        iops=ebs.get("Iops"),
        throughput_mibps=ebs.get("Throughput"),
        delete_on_termination=ebs.get("DeleteOnTermination", True),
        is_root=name == image.root_device_name,
    )


def _snapshot(session: Session, account_id: str, image: Image, snapshot_id: str | None) -> Snapshot | None:
    if snapshot_id is None:
        return None
    if snapshot_id in snapshots.snapshot_ids_of(image):
        # Whoever may launch the image may launch what it lies on.
        return session.get_one(Snapshot, snapshot_id)
    snapshot = snapshots.get(session, account_id, snapshot_id)
    if snapshot.state != snapshots.COMPLETED:
        raise errors.incorrect_state(f"Snapshot '{snapshot_id}' is not 'completed'.")
    return snapshot
