"""Describe, Modify and Reset SnapshotAttribute."""

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.operations.permission_forms import PermissionForms
from bakehouse.api.registry import operation
from bakehouse.domain import snapshot_sharing, snapshots

_PERMISSION = "createVolumePermission"
_FORMS = PermissionForms(nested="CreateVolumePermission", flat={"UserIds": "UserId", "GroupNames": "Group"})


@operation("ec2", "DescribeSnapshotAttribute", mutates=False, honours=("SnapshotId", "Attribute"))
def describe_snapshot_attribute(context: RequestContext, request: Parameters) -> Reply:
    """With whom an own snapshot is shared, or its product codes."""
    snapshot = snapshots.get_own(context.session, context.account_id, request["SnapshotId"])
    if request["Attribute"] == _PERMISSION:
        answer = {"CreateVolumePermissions": snapshot_sharing.permissions(snapshot)}
    else:
        answer = {"ProductCodes": snapshot.product_codes}
    return {"SnapshotId": snapshot.snapshot_id, **answer}


@operation(
    "ec2",
    "ModifySnapshotAttribute",
    mutates=True,
    honours=("Attribute", "CreateVolumePermission", "GroupNames", "OperationType", "SnapshotId", "UserIds"),
    own_codes=("CreateVolumePermission.Add[].Group", "CreateVolumePermission.Remove[].Group"),
)
def modify_snapshot_attribute(context: RequestContext, request: Parameters) -> Reply:
    """Share a snapshot or take it back, in either of EC2's forms or in both at once."""
    snapshot = snapshots.get_own(context.session, context.account_id, request["SnapshotId"])
    if request.get("Attribute", _PERMISSION) != _PERMISSION:
        raise errors.unsupported_operation("Only createVolumePermission can be changed.")
    snapshot_sharing.change_permissions(context.session, snapshot, **_FORMS.read(request))
    return {}


@operation("ec2", "ResetSnapshotAttribute", mutates=True, honours=("SnapshotId", "Attribute"))
def reset_snapshot_attribute(context: RequestContext, request: Parameters) -> Reply:
    """Make the snapshot private again."""
    snapshot = snapshots.get_own(context.session, context.account_id, request["SnapshotId"])
    if request["Attribute"] != _PERMISSION:
        raise errors.unsupported_operation("Only createVolumePermission can be reset.")
    snapshot_sharing.withdraw(snapshot)
    return {}
