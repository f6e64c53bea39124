"""What an earlier demo left: found by its tag, and removed.

Invariant: nothing is touched that does not carry the demo's tag or (key pair, group) the demo's own name.
"""

from contextlib import suppress
from typing import Any

from bakehouse.cli.demo.steps import DemoFailed

TAG = "bakehouse-demo"
KEY_NAME = "bakehouse-demo"
GROUP_NAME = "bakehouse-demo"
IMAGE_NAME = "webserver-v1"

_BY_TAG = [{"Name": "tag-key", "Values": [TAG]}]
_ALIVE = {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}
_QUICKLY = {"Delay": 1, "MaxAttempts": 180}


def remove_leftovers(ec2: Any) -> list[str]:
    """Remove an earlier demo's resources; return their ids. DemoFailed when its image's name is taken."""
    return [*_terminate_instances(ec2), *_deregister_images(ec2), *_delete_group(ec2), *_delete_key_pair(ec2)]


def live_instances(ec2: Any) -> list[str]:
    """Return the ids of the demo's instances that are not terminated."""
    pages = ec2.get_paginator("describe_instances").paginate(Filters=[*_BY_TAG, _ALIVE])
    reservations = [reservation for page in pages for reservation in page["Reservations"]]
    return [instance["InstanceId"] for one in reservations for instance in one["Instances"]]


def _terminate_instances(ec2: Any) -> list[str]:
    found = live_instances(ec2)
    if found:
        ec2.terminate_instances(InstanceIds=found)
        ec2.get_waiter("instance_terminated").wait(InstanceIds=found, WaiterConfig=_QUICKLY)
    return found


def _deregister_images(ec2: Any) -> list[str]:
    removed = []
    by_name = [{"Name": "name", "Values": [IMAGE_NAME]}]
    for image in ec2.describe_images(Owners=["self"], Filters=by_name)["Images"]:
        if not any(tag["Key"] == TAG for tag in image.get("Tags", [])):
            raise DemoFailed(f"{image['ImageId']} is named {IMAGE_NAME} and is not the demo's: rename it first")
        ec2.deregister_image(ImageId=image["ImageId"])
        removed.append(image["ImageId"])
        for mapping in image["BlockDeviceMappings"]:
            if snapshot_id := mapping.get("Ebs", {}).get("SnapshotId"):
                ec2.delete_snapshot(SnapshotId=snapshot_id)
                removed.append(snapshot_id)
    return removed


def _delete_group(ec2: Any) -> list[str]:
    by_name = [{"Name": "group-name", "Values": [GROUP_NAME]}]
    found = [group["GroupId"] for group in ec2.describe_security_groups(Filters=by_name)["SecurityGroups"]]
    for group_id in found:
        ec2.delete_security_group(GroupId=group_id)
    return found


def _delete_key_pair(ec2: Any) -> list[str]:
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]

    with suppress(ClientError):  # none of that name
        ec2.describe_key_pairs(KeyNames=[KEY_NAME])
        ec2.delete_key_pair(KeyName=KEY_NAME)
        return [KEY_NAME]
    return []
