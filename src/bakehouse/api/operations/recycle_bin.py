"""Recycle Bin: its rules (a service of its own), and EC2's operations on what is in it."""

from datetime import datetime
from typing import Any

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.operations.snapshots import snapshot_item
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import Image, RetentionRule
from bakehouse.domain import recycle_bin, restoring, retention_rules
from bakehouse.domain.retention_rules import IMAGE, SNAPSHOT, LockState, NewRule
from bakehouse.errors import recycle_bin as bin_errors


@operation(
    "rbin",
    "CreateRule",
    mutates=True,
    honours=(
        "Description",
        "ExcludeResourceTags",
        "LockConfiguration",
        "ResourceTags",
        "ResourceType",
        "RetentionPeriod",
        "Tags",
    ),
)
def create_rule(context: RequestContext, request: Parameters) -> Reply:
    """Make a retention rule."""
    new = NewRule(
        resource_type=request["ResourceType"],
        retention_days=request["RetentionPeriod"]["RetentionPeriodValue"],
        description=request.get("Description", ""),
        resource_tags=request.get("ResourceTags", ()),
        exclude_resource_tags=request.get("ExcludeResourceTags", ()),
        tags=request.get("Tags", ()),
        unlock_delay_days=_delay(request) if "LockConfiguration" in request else None,
    )
    rule = retention_rules.create(context.session, context.account_id, new)
    return {**_rule(context, rule), **_lock(rule), "Tags": _tags(rule)}


@operation("rbin", "GetRule", mutates=False, honours=("Identifier",))
def get_rule(context: RequestContext, request: Parameters) -> Reply:
    """Show a rule."""
    rule = retention_rules.get(context.session, context.account_id, request["Identifier"])
    return {**_rule(context, rule), **_lock(rule), "LockEndTime": _lock_end(rule)}


@operation(
    "rbin",
    "ListRules",
    mutates=False,
    honours=("ExcludeResourceTags", "LockState", "ResourceTags", "ResourceType"),
    paged=Paged(result="Rules", minimum=1, maximum=1000, key="Identifier"),
)
def list_rules(context: RequestContext, request: Parameters) -> Reply:
    """List the rules for a type of resource."""
    found = [
        rule
        for rule in retention_rules.visible(context.session, context.account_id)
        if rule.resource_type == request["ResourceType"]
        and request.get("LockState") in (None, retention_rules.lock_state(rule))
        and retention_rules.has_all(rule.resource_tags, request.get("ResourceTags", ()))
        and retention_rules.has_all(rule.exclude_resource_tags, request.get("ExcludeResourceTags", ()))
    ]
    names = ("Description", "Identifier", "LockState", "RetentionPeriod", "RuleArn")
    items = [_rule(context, rule) for rule in found]
    return {"Rules": [{name: item[name] for name in names} for item in items]}


@operation(
    "rbin",
    "UpdateRule",
    mutates=True,
    honours=("Description", "ExcludeResourceTags", "Identifier", "ResourceTags", "RetentionPeriod"),
)
def update_rule(context: RequestContext, request: Parameters) -> Reply:
    """Change a rule."""
    rule = retention_rules.get(context.session, context.account_id, request["Identifier"])
    period = request.get("RetentionPeriod")
    retention_rules.update(
        rule,
        retention_days=period["RetentionPeriodValue"] if period else None,
        description=request.get("Description"),
        resource_tags=request.get("ResourceTags"),
        exclude_resource_tags=request.get("ExcludeResourceTags"),
    )
    return {**_rule(context, rule), "LockEndTime": _lock_end(rule)}


@operation("rbin", "DeleteRule", mutates=True, honours=("Identifier",))
def delete_rule(context: RequestContext, request: Parameters) -> Reply:
    """Delete a rule."""
    rule = retention_rules.get(context.session, context.account_id, request["Identifier"])
    retention_rules.delete(context.session, rule)
    return {}


@operation("rbin", "LockRule", mutates=True, honours=("Identifier", "LockConfiguration"))
def lock_rule(context: RequestContext, request: Parameters) -> Reply:
    """Lock a rule for a whole region."""
    rule = retention_rules.get(context.session, context.account_id, request["Identifier"])
    retention_rules.lock(rule, _delay(request))
    return {**_rule(context, rule), **_lock(rule)}


@operation("rbin", "UnlockRule", mutates=True, honours=("Identifier",))
def unlock_rule(context: RequestContext, request: Parameters) -> Reply:
    """Begin the unlock delay of a locked rule."""
    rule = retention_rules.get(context.session, context.account_id, request["Identifier"])
    retention_rules.unlock(rule)
    return {**_rule(context, rule), **_lock(rule), "LockEndTime": _lock_end(rule)}


@operation("rbin", "TagResource", mutates=True, honours=("ResourceArn", "Tags"))
def tag_resource(context: RequestContext, request: Parameters) -> Reply:
    """Tag a rule."""
    retention_rules.put_tags(_named(context, request), request["Tags"])
    return {}


@operation("rbin", "UntagResource", mutates=True, honours=("ResourceArn", "TagKeys"))
def untag_resource(context: RequestContext, request: Parameters) -> Reply:
    """Take tags off a rule; those it does not have are fine."""
    rule = _named(context, request)
    rule.tags = {key: value for key, value in rule.tags.items() if key not in request["TagKeys"]}
    return {}


@operation("rbin", "ListTagsForResource", mutates=False, honours=("ResourceArn",))
def list_tags_for_resource(context: RequestContext, request: Parameters) -> Reply:
    """List a rule's tags."""
    return {"Tags": _tags(_named(context, request))}


@operation(
    "ec2",
    "ListImagesInRecycleBin",
    mutates=False,
    honours=("ImageIds",),
    paged=Paged(result="Images", minimum=1, maximum=1000, ids=("ImageIds",), key="ImageId"),
)
def list_images_in_recycle_bin(context: RequestContext, request: Parameters) -> Reply:
    """List the account's images in the bin."""
    for image_id in request.get("ImageIds", ()):
        restoring.check_image_id(image_id)
    entries = recycle_bin.visible(context.session, context.account_id, IMAGE, request.get("ImageIds", ()))
    items = []
    for entry in entries:
        image = context.session.get_one(Image, entry.resource_id)
        items.append(
            {
                "ImageId": image.image_id,
                "Name": image.name,
                "Description": image.description,
                "RecycleBinEnterTime": entry.entered_at,
                "RecycleBinExitTime": entry.exits_at,
            }
        )
    return {"Images": items}


@operation("ec2", "RestoreImageFromRecycleBin", mutates=True, honours=("ImageId",))
def restore_image_from_recycle_bin(context: RequestContext, request: Parameters) -> Reply:
    """Register an image again, as it was."""
    restoring.restore_image(context.session, context.account_id, request["ImageId"])
    return {"Return": True}


@operation(
    "ec2",
    "ListSnapshotsInRecycleBin",
    mutates=False,
    honours=("SnapshotIds",),
    paged=Paged(result="Snapshots", minimum=5, maximum=1000, ids=("SnapshotIds",), key="SnapshotId"),
)
def list_snapshots_in_recycle_bin(context: RequestContext, request: Parameters) -> Reply:
    """List the account's snapshots in the bin."""
    for snapshot_id in request.get("SnapshotIds", ()):
        restoring.check_snapshot_id(snapshot_id)
    entries = recycle_bin.visible(context.session, context.account_id, SNAPSHOT, request.get("SnapshotIds", ()))
    return {
        "Snapshots": [
            {
                "SnapshotId": entry.resource_id,
                "Description": entry.contents["columns"]["description"],
                "VolumeId": entry.contents["columns"]["volume_id"],
                "RecycleBinEnterTime": entry.entered_at,
                "RecycleBinExitTime": entry.exits_at,
            }
            for entry in entries
        ]
    }


@operation("ec2", "RestoreSnapshotFromRecycleBin", mutates=True, honours=("SnapshotId",))
def restore_snapshot_from_recycle_bin(context: RequestContext, request: Parameters) -> Reply:
    """Bring a snapshot back, as it was."""
    snapshot = restoring.restore_snapshot(context.session, context.account_id, request["SnapshotId"])
    item = snapshot_item(snapshot, [])
    names = ("Description", "Encrypted", "OwnerId", "Progress", "SnapshotId", "StartTime", "State", "VolumeId")
    return {**{name: item[name] for name in names}, "VolumeSize": item["VolumeSize"]}


def _delay(request: Parameters) -> int:
    return int(request["LockConfiguration"]["UnlockDelay"]["UnlockDelayValue"])


def _arn(context: RequestContext, identifier: str) -> str:
    return f"arn:aws:rbin:{context.region}:{context.account_id}:rule/{identifier}"


def _named(context: RequestContext, request: Parameters) -> RetentionRule:
    arn = request["ResourceArn"]
    identifier = arn.rpartition("/")[2]
    if not identifier or arn != _arn(context, identifier):
        if not arn.startswith("arn:"):
            raise bin_errors.validation("The resource ARN is not valid.")
        raise bin_errors.rule_not_found(identifier)
    return retention_rules.get(context.session, context.account_id, identifier)


def _tags(rule: RetentionRule) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(rule.tags.items())]


def _rule(context: RequestContext, rule: RetentionRule) -> dict[str, Any]:
    return {
        "Description": rule.description,
        "ExcludeResourceTags": rule.exclude_resource_tags,
        "Identifier": rule.identifier,
        "LockState": retention_rules.lock_state(rule),
        "ResourceTags": rule.resource_tags,
        "ResourceType": rule.resource_type,
        "RetentionPeriod": {"RetentionPeriodValue": rule.retention_days, "RetentionPeriodUnit": "DAYS"},
        "RuleArn": _arn(context, rule.identifier),
        "Status": "available",
    }


def _lock(rule: RetentionRule) -> dict[str, Any]:
    if retention_rules.lock_state(rule) == LockState.UNLOCKED:
        return {}
    return {
        "LockConfiguration": {"UnlockDelay": {"UnlockDelayValue": rule.unlock_delay_days, "UnlockDelayUnit": "DAYS"}}
    }


def _lock_end(rule: RetentionRule) -> datetime | None:
    return rule.unlocks_at if retention_rules.lock_state(rule) == LockState.PENDING_UNLOCK else None
