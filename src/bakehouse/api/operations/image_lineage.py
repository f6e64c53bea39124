"""What images came from, and what uses them."""

from collections.abc import Sequence
from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.operations.images import deprecation_text, image_time
from bakehouse.api.operations.instance_items import state_item
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import Image
from bakehouse.domain import accounts, allowed_images, image_lineage, images, instances, tags, vpcs
from bakehouse.domain.allowed_images import AllowedImages

Item = dict[str, Any]


@operation("ec2", "GetImageAncestry", mutates=False, honours=("ImageId",))
def get_image_ancestry(context: RequestContext, request: Parameters) -> Reply:
    """The image, what it was made of, and so on to the first."""
    session = context.session
    image = images.get_visible(session, context.account_id, request["ImageId"])
    aliases = accounts.owner_aliases(session)
    chain = image_lineage.ancestry(session, context.account_id, image)
    seen = {one.image_id for one in chain}
    entries = []
    for one in chain:
        # What another account's image was made of is told only where the caller sees it anyway.
        is_told = one.account_id == context.account_id or one.source_image_id in seen
        entries.append(
            {
                "CreationDate": one.created_at,
                "ImageId": one.image_id,
                "ImageOwnerAlias": aliases.get(one.account_id),
                "SourceImageId": one.source_image_id if is_told else None,
                "SourceImageRegion": one.source_image_region if is_told else None,
            }
        )
    return {"ImageAncestryEntries": entries}


@operation(
    "ec2",
    "DescribeImageReferences",
    mutates=False,
    honours=("ImageIds", "IncludeAllResourceTypes", "ResourceTypes"),
    paged=Paged(result="ImageReferences", minimum=5, maximum=1000, key=("ImageId", "Arn")),
)
def describe_image_references(context: RequestContext, request: Parameters) -> Reply:
    """What of the account's names these images."""
    found = image_lineage.references(context.session, context.account_id, request["ImageIds"], _wanted(request))
    return {
        "ImageReferences": [
            {
                "Arn": _arn(context, one),
                "ImageId": one.image_id,
                "ResourceType": one.resource_type,
            }
            for one in found
        ]
    }


def _wanted(request: Parameters) -> image_lineage.Wanted:
    wanted: dict[str, Sequence[str]] = {}
    if request.get("IncludeAllResourceTypes", False):
        wanted = dict.fromkeys(image_lineage.RESOURCE_TYPES, ())
    for kind in request.get("ResourceTypes", ()):
        if "ResourceType" not in kind:
            raise errors.missing_parameter("ResourceType")
        name = kind["ResourceType"]
        wanted[name] = ()
        for option in kind.get("ResourceTypeOptions", ()):
            wanted[name] = option.get("OptionValues", ())
            image_lineage.check_wanted(name, option.get("OptionName", ""), wanted[name])
    if not wanted:
        raise errors.missing_parameter("ResourceTypes")
    return wanted


def _arn(context: RequestContext, reference: image_lineage.Reference) -> str:
    service = reference.resource_type.partition(":")[0]
    return f"arn:aws:{service}:{context.region}:{context.account_id}:{reference.resource}"


@operation(
    "ec2",
    "DescribeInstanceImageMetadata",
    mutates=False,
    honours=("InstanceIds",),
    filters=FilterTable(
        item="InstanceImageMetadata[]",
        paths={
            "availability-zone": "AvailabilityZone",
            "image-allowed": "ImageMetadata.ImageAllowed",
            "instance-id": "InstanceId",
            "instance-state-name": "State.Name",
            "instance-type": "InstanceType",
            "launch-time": "LaunchTime",
            "owner-alias": "ImageMetadata.ImageOwnerAlias",
            "owner-id": "ImageMetadata.OwnerId",
            "zone-id": "ZoneId",
        },
        tags="Tags",
    ),
    paged=Paged(result="InstanceImageMetadata", minimum=1, maximum=1000, ids=("InstanceIds",), key="InstanceId"),
)
def describe_instance_image_metadata(context: RequestContext, request: Parameters) -> Reply:
    """The images of the account's instances, also of those it could not launch again."""
    session, account_id = context.session, context.account_id
    found = instances.visible(session, account_id, request.get("InstanceIds", ()))
    own_tags = tags.tags_of(session, account_id, [one.instance_id for one in found])
    aliases = accounts.owner_aliases(session)
    allowed = allowed_images.get(session, account_id)
    launched_from = {
        image_id: _image_metadata(image, aliases.get(image.account_id), allowed)
        for image_id, image in image_lineage.launched_from(session, found).items()
    }
    return {
        "InstanceImageMetadata": [
            {
                "AvailabilityZone": one.availability_zone,
                "ImageMetadata": launched_from.get(one.image_id, {"ImageId": one.image_id}),
                "InstanceId": one.instance_id,
                "InstanceType": one.instance_type,
                "LaunchTime": one.launched_at,
                "Operator": {"Managed": False},
                "OwnerId": one.account_id,
                "State": state_item(one.state),
                "Tags": own_tags[one.instance_id],
                "ZoneId": vpcs.zone_id(one.availability_zone),
            }
            for one in found
        ]
    }


def _image_metadata(image: Image, owner_alias: str | None, allowed: AllowedImages) -> Item:
    return {
        "CreationDate": image_time(image.created_at),
        "DeprecationTime": deprecation_text(image),
        "ImageAllowed": allowed.verdict(image, owner_alias),
        "ImageId": image.image_id,
        "ImageOwnerAlias": owner_alias,
        "IsPublic": image.is_public,
        "Name": image.name,
        "OwnerId": image.account_id,
        "State": image.state,
    }
