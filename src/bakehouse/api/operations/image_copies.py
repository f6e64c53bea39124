"""CopyImage, CopySnapshot: into the region that is asked, from there or from another one of this service."""

from bakehouse import errors
from bakehouse.api.authorization import authorize_copied_tags
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.registry import operation
from bakehouse.database.models import Image
from bakehouse.database.session import in_region
from bakehouse.domain import image_copies, images, snapshots, tags
from bakehouse.errors import images as image_errors


def _source_region(context: RequestContext, request: Parameters) -> str:
    region = str(request["SourceRegion"])
    if region not in context.host.settings.regions:
        raise image_errors.source_region_invalid(region)
    return region


@operation(
    "ec2",
    "CopyImage",
    mutates=True,
    honours=("SourceImageId", "SourceRegion", "Name", "Description", "CopyImageTags", "TagSpecifications"),
    harmless={"Encrypted": (False,)},
    own_codes=("Name",),
)
def copy_image(context: RequestContext, request: Parameters) -> Reply:
    """Write a pending copy; its manifests are written after the answer."""
    session, account_id = context.session, context.account_id
    images.check_name(session, account_id, request["Name"])
    images.check_description(request.get("Description", ""))
    with in_region(session, _source_region(context, request)):
        source = image_copies.get_copyable(session, account_id, request["SourceImageId"])
        source_tags = tags.tags_of(session, account_id, [source.image_id])[source.image_id]
    image = image_copies.create_image_copy(
        session, account_id, source, name=request["Name"], description=request.get("Description", "")
    )
    image.source_image_id, image.source_image_region = source.image_id, source.region
    if request.get("CopyImageTags", False):
        users = [tag for tag in source_tags if not tags.is_reserved(tag["Key"])]
        authorize_copied_tags(context, "CopyImage", "image", users)
        tags.put_tags(session, account_id, image.image_id, "image", users)
    _tag(context, image, request)
    _enqueue(context, "copy_image", image.image_id)
    return {"ImageId": image.image_id}


def _tag(context: RequestContext, image: Image, request: Parameters) -> None:
    for kind, resource_ids in (("image", [image.image_id]), ("snapshot", snapshots.snapshot_ids_of(image))):
        wanted = tags.tags_for(request.get("TagSpecifications"), kind, allowed=("image", "snapshot"))
        for resource_id in resource_ids:
            tags.put_tags(context.session, context.account_id, resource_id, kind, wanted)


def _enqueue(context: RequestContext, workflow: str, subject_id: str) -> None:
    context.host.enqueue(context.session, workflow, subject_id, key=subject_id, workflow_id=f"{workflow}-{subject_id}")


@operation(
    "ec2",
    "CopySnapshot",
    mutates=True,
    honours=(
        "SourceSnapshotId",
        "SourceRegion",
        "Description",
        "DestinationRegion",
        # SDKs sign one into every request. It lets the source's region read an encrypted snapshot for the caller; there
        # are none here, and EC2 does not look at it then.
        "PresignedUrl",
        "TagSpecifications",
    ),
    harmless={"Encrypted": (False,)},
)
def copy_snapshot(context: RequestContext, request: Parameters) -> Reply:
    """Write a pending copy; its manifest is written after the answer."""
    session, account_id = context.session, context.account_id
    images.check_description(request.get("Description", ""))
    if request.get("DestinationRegion", context.region) != context.region:
        raise errors.invalid_value_for("DestinationRegion", request["DestinationRegion"])
    with in_region(session, _source_region(context, request)):
        source = snapshots.get_completed(session, account_id, request["SourceSnapshotId"])
    snapshot = image_copies.create_snapshot_copy(session, account_id, source, request.get("Description", ""))
    wanted = tags.tags_for(request.get("TagSpecifications"), "snapshot")
    tags.put_tags(session, account_id, snapshot.snapshot_id, "snapshot", wanted)
    _enqueue(context, "copy_snapshot", snapshot.snapshot_id)
    return {"SnapshotId": snapshot.snapshot_id, "Tags": wanted}
