"""Enable, Disable and Get ImageBlockPublicAccess and SnapshotBlockPublicAccess."""

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.registry import operation
from bakehouse.domain import block_public_access as access


@operation("ec2", "EnableImageBlockPublicAccess", mutates=True, honours=("ImageBlockPublicAccessState",))
def enable_image_block_public_access(context: RequestContext, request: Parameters) -> Reply:
    """From now on none of the account's images becomes public."""
    state = request["ImageBlockPublicAccessState"]
    access.set_image_state(context.session, context.account_id, state)
    return {"ImageBlockPublicAccessState": state}


@operation("ec2", "DisableImageBlockPublicAccess", mutates=True)
def disable_image_block_public_access(context: RequestContext, request: Parameters) -> Reply:
    """The account may make images public."""
    del request
    access.set_image_state(context.session, context.account_id, access.UNBLOCKED)
    return {"ImageBlockPublicAccessState": access.UNBLOCKED}


@operation("ec2", "GetImageBlockPublicAccessState", mutates=False)
def get_image_block_public_access_state(context: RequestContext, request: Parameters) -> Reply:
    """What is set for images."""
    del request
    state = access.image_state(context.session, context.account_id)
    return {"ImageBlockPublicAccessState": state, "ManagedBy": "account"}


@operation("ec2", "EnableSnapshotBlockPublicAccess", mutates=True, honours=("State",))
def enable_snapshot_block_public_access(context: RequestContext, request: Parameters) -> Reply:
    """From now on none of the account's snapshots becomes public, or even none is."""
    if request["State"] == access.UNBLOCKED:
        # EC2 API Reference: "unblocked is not a valid value for EnableSnapshotBlockPublicAccess".
        raise errors.invalid_value_for("state", request["State"])
    access.set_snapshot_state(context.session, context.account_id, request["State"])
    return {"State": request["State"]}


@operation("ec2", "DisableSnapshotBlockPublicAccess", mutates=True)
def disable_snapshot_block_public_access(context: RequestContext, request: Parameters) -> Reply:
    """The account may make snapshots public, and those that are public are so again."""
    del request
    access.set_snapshot_state(context.session, context.account_id, access.UNBLOCKED)
    return {"State": access.UNBLOCKED}


@operation("ec2", "GetSnapshotBlockPublicAccessState", mutates=False)
def get_snapshot_block_public_access_state(context: RequestContext, request: Parameters) -> Reply:
    """What is set for snapshots."""
    del request
    return {"State": access.snapshot_state(context.session, context.account_id), "ManagedBy": "account"}
