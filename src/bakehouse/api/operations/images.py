"""CreateImage, DescribeImages, RegisterImage, DeregisterImage."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.operations import block_devices
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import Image
from bakehouse.domain import image_lifecycle, images, instances, replace_root_volume_tasks, snapshots, tags
from bakehouse.domain.allowed_images import AllowedImages
from bakehouse.domain.block_devices import registered_mappings
from bakehouse.domain.iam import resource_names
from bakehouse.domain.iam.authority import Target


def image_time(moment: datetime | None) -> str | None:
    """A moment as the Image shape has it: text, to the second."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.000Z" if moment else None


def deprecation_text(image: images.ImageRow | Image) -> str | None:
    """When the image is deprecated, or was."""
    return image_time(
        image_lifecycle.deprecation_time(
            is_public=image.is_public, created_at=image.created_at, deprecate_at=image.deprecate_at
        )
    )


def image_item(image: images.ImageRow, own_tags: list[dict[str, str]], allowed: AllowedImages) -> dict[str, Any]:
    """The Image shape of one row, as an account sees it: what it was made of, and what its owner does with it, is the
    owner's to know.
    """
    reason = (
        {"Code": image.state_reason_code, "Message": image.state_reason_message} if image.state_reason_code else None
    )
    is_own = image.account_id == allowed.account_id
    # Which of these others see is not documented, so it is the owner's to know.
    owners = {
        "DeregistrationProtection": image.deregistration_protection,
        "LastLaunchedTime": image_time(image.last_launched_at),
        "SourceImageId": image.source_image_id,
        "SourceImageRegion": image.source_image_region,
        "SourceInstanceId": image.source_instance_id,
    }
    return {
        "Architecture": image.architecture,
        "BlockDeviceMappings": image.block_device_mappings,
        "BootMode": image.boot_mode,
        "CreationDate": image_time(image.created_at),
        "DeprecationTime": deprecation_text(image),
        "Description": image.description,
        "EnaSupport": image.ena_support,
        "FreeTierEligible": False,
        "Hypervisor": "xen",
        "ImageAllowed": allowed.verdict(image, image.owner_alias),
        "ImageId": image.image_id,
        "ImageLocation": f"{image.owner_alias or image.account_id}/{image.name}",
        "ImageOwnerAlias": image.owner_alias,
        "ImageType": "machine",
        "ImdsSupport": image.imds_support,
        "Name": image.name,
        "OwnerId": image.account_id,
        "PlatformDetails": "Linux/UNIX",
        "ProductCodes": image.product_codes or [],
        "Public": image.is_public,
        "RootDeviceName": image.root_device_name,
        "RootDeviceType": "ebs",
        "SriovNetSupport": image.sriov_net_support,
        "State": image.state,
        "StateReason": reason,
        "Tags": own_tags,
        "UsageOperation": "RunInstances",
        "VirtualizationType": "hvm",
        **(owners if is_own else {}),
    }


@operation(
    "ec2",
    "CreateImage",
    mutates=True,
    honours=("InstanceId", "Name", "Description", "NoReboot", *block_devices.HONOURED, "TagSpecifications"),
    harmless=block_devices.HARMLESS,
    keeps_empty=block_devices.KEEPS_EMPTY,
    own_codes=("Name",),
)
def create_image(context: RequestContext, request: Parameters) -> Reply:
    """Write a pending image and its snapshots; the capture runs after the answer."""
    session = context.session
    instance = instances.get(session, context.account_id, request["InstanceId"])
    replace_root_volume_tasks.refuse_while_under_way(session, instance)
    image = images.create_from_instance(
        session,
        instance,
        name=request["Name"],
        description=request.get("Description", ""),
        overrides=request.get("BlockDeviceMappings", ()),
    )
    _tag(context, image, request.get("TagSpecifications", ()))
    context.host.enqueue(
        session,
        "capture_image",
        image.image_id,
        request.get("NoReboot", False),
        key=f"capture-{instance.instance_id}",
        workflow_id=f"capture_image-{image.image_id}",
    )
    return {"ImageId": image.image_id}


def _tag(context: RequestContext, image: Image, specifications: Sequence[dict[str, Any]]) -> None:
    kinds = {"image": [image.image_id], "snapshot": snapshots.snapshot_ids_of(image)}
    for kind, resource_ids in kinds.items():
        wanted = tags.tags_for(specifications, kind, allowed=("image", "snapshot"))
        for resource_id in resource_ids:
            tags.put_tags(context.session, context.account_id, resource_id, kind, wanted)


_IMAGE_FILTERS = FilterTable(
    item="Images[]",
    paths={
        "architecture": "Architecture",
        "block-device-mapping.delete-on-termination": "BlockDeviceMappings[].Ebs.DeleteOnTermination",
        "block-device-mapping.device-name": "BlockDeviceMappings[].DeviceName",
        "block-device-mapping.encrypted": "BlockDeviceMappings[].Ebs.Encrypted",
        "block-device-mapping.snapshot-id": "BlockDeviceMappings[].Ebs.SnapshotId",
        "block-device-mapping.volume-size": "BlockDeviceMappings[].Ebs.VolumeSize",
        "block-device-mapping.volume-type": "BlockDeviceMappings[].Ebs.VolumeType",
        "boot-mode": "BootMode",
        "creation-date": "CreationDate",
        "description": "Description",
        "ena-support": "EnaSupport",
        "free-tier-eligible": "FreeTierEligible",
        "hypervisor": "Hypervisor",
        "image-allowed": "ImageAllowed",
        "image-id": "ImageId",
        "image-type": "ImageType",
        "image-watermark.source-image-creation-time": "ImageWatermarks[].SourceImageCreationTime",
        "image-watermark.source-image-id": "ImageWatermarks[].SourceImageId",
        "image-watermark.source-image-region": "ImageWatermarks[].SourceImageRegion",
        "image-watermark.watermark-creation-time": "ImageWatermarks[].WatermarkCreationTime",
        "image-watermark.watermark-key": "ImageWatermarks[].WatermarkKey",
        "instance-type-specification.supported-instance-type": "InstanceTypeSpecification.SupportedInstanceTypes[]",
        "instance-type-specification.unsupported-instance-type": "InstanceTypeSpecification.UnsupportedInstanceTypes[]",
        "is-public": "Public",
        "kernel-id": "KernelId",
        "manifest-location": "ImageLocation",
        "name": "Name",
        "owner-alias": "ImageOwnerAlias",
        "owner-id": "OwnerId",
        "platform": "Platform",
        "product-code": "ProductCodes[].ProductCodeId",
        "product-code.type": "ProductCodes[].ProductCodeType",
        "ramdisk-id": "RamdiskId",
        "root-device-name": "RootDeviceName",
        "root-device-type": "RootDeviceType",
        "scan-result.critical-fix-available-since": "ScanResults.CriticalFixAvailableSince",
        "scan-result.finding-scan-date": "ScanResults.FindingScanDate",
        "scan-result.high-fix-available-since": "ScanResults.HighFixAvailableSince",
        "scan-result.highest-finding-severity-label": "ScanResults.HighestFindingSeverityLabel",
        "scan-result.informational-fix-available-since": "ScanResults.InformationalFixAvailableSince",
        "scan-result.low-fix-available-since": "ScanResults.LowFixAvailableSince",
        "scan-result.medium-fix-available-since": "ScanResults.MediumFixAvailableSince",
        "source-image-id": "SourceImageId",
        "source-image-region": "SourceImageRegion",
        "source-instance-id": "SourceInstanceId",
        "sriov-net-support": "SriovNetSupport",
        "state": "State",
        "state-reason-code": "StateReason.Code",
        "state-reason-message": "StateReason.Message",
        "virtualization-type": "VirtualizationType",
    },
    tags="Tags",
)


@operation(
    "ec2",
    "DescribeImages",
    mutates=False,
    honours=("ImageIds", "Owners", "ExecutableUsers", "IncludeDeprecated", "IncludeDisabled"),
    filters=_IMAGE_FILTERS,
    paged=Paged(result="Images", minimum=1, maximum=1000, ids=("ImageIds",), key="ImageId"),
)
def describe_images(context: RequestContext, request: Parameters) -> Reply:
    """List the images the account may see."""
    session, account_id = context.session, context.account_id
    found = images.list_rows(
        session,
        account_id,
        request.get("ImageIds", ()),
        owners=request.get("Owners", ()),
        executable_users=request.get("ExecutableUsers", ()),
        include_deprecated=request.get("IncludeDeprecated", False),
        include_disabled=request.get("IncludeDisabled", False),
    )
    own_tags = tags.tags_of(session, account_id, [one.image_id for one in found])
    allowed = images.allowed_of(account_id, found)
    return {"Images": [image_item(one, own_tags[one.image_id], allowed) for one in found]}


@operation(
    "ec2",
    "RegisterImage",
    mutates=True,
    honours=(
        "Architecture",
        *block_devices.HONOURED,
        "BootMode",
        "Description",
        "EnaSupport",
        "ImdsSupport",
        "Name",
        "RootDeviceName",
        "SriovNetSupport",
        "TagSpecifications",
    ),
    harmless={
        **block_devices.HARMLESS,
        "VirtualizationType": ("hvm",),
    },
    keeps_empty=block_devices.KEEPS_EMPTY,
    own_codes=("Name",),
)
def register_image(context: RequestContext, request: Parameters) -> Reply:
    """Make an image of one of the account's completed snapshots."""
    session, account_id = context.session, context.account_id
    images.check_name(session, account_id, request["Name"])
    images.check_description(request.get("Description", ""))
    if request.get("Architecture", "x86_64") != "x86_64":
        raise errors.unsupported_operation("Only images of architecture x86_64 can be registered.")
    root = request.get("RootDeviceName", "/dev/sda1")
    image = images.register(
        session,
        account_id,
        name=request["Name"],
        description=request.get("Description", ""),
        boot_mode=request.get("BootMode", "legacy-bios"),
        root_device_name=root,
        imds_support=request.get("ImdsSupport"),
        ena_support=request.get("EnaSupport", True),
        sriov_net_support=_sriov_net_support(request),
        mappings=registered_mappings(session, account_id, root, request.get("BlockDeviceMappings", ())),
    )
    _tag(context, image, request.get("TagSpecifications", ()))
    return {"ImageId": image.image_id}


def _sriov_net_support(request: Parameters) -> str | None:
    """What the image says of its guests' drivers; no machine here has such an interface."""
    value: str | None = request.get("SriovNetSupport")
    if value not in (None, "simple"):
        raise errors.invalid_value_for("sriovNetSupport", value[:100])
    return value


@operation(
    "ec2",
    "DeregisterImage",
    mutates=True,
    honours=("ImageId", "DeleteAssociatedSnapshots"),
)
def deregister_image(context: RequestContext, request: Parameters) -> Reply:
    """Take an image out of use, and its snapshots if so asked and no other image needs them; instances stay."""
    image = images.get_own(context.session, context.account_id, request["ImageId"])

    def may_delete(snapshot_id: str) -> bool:
        arn = resource_names.ec2_arn(context.session, context.account_id, snapshot_id)
        return context.authority.allows("ec2:DeleteSnapshot", Target(arn=arn))

    deletes = request.get("DeleteAssociatedSnapshots", False)
    ended = images.deregister(context.session, image, may_delete=may_delete if deletes else None)
    results = [{"SnapshotId": snapshot_id, "ReturnCode": code} for snapshot_id, code in ended]
    return {"Return": True, "DeleteSnapshotResults": results}
