"""CreateReplaceRootVolumeTask, DescribeReplaceRootVolumeTasks."""

from datetime import datetime
from typing import Any

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.pagination import Paged
from bakehouse.api.registry import operation
from bakehouse.database.models import ReplaceRootVolumeTask
from bakehouse.domain import images, instances, replace_root_volume_tasks, tags

_RESOURCE_TYPE = "replace-root-volume-task"


def _moment(value: datetime | None) -> str | None:
    """The model has these as text."""
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if value is not None else None


def _task_item(task: ReplaceRootVolumeTask, own_tags: list[dict[str, str]]) -> dict[str, Any]:
    """The ReplaceRootVolumeTask shape of one row."""
    return {
        "CompleteTime": _moment(task.completed_at),
        "DeleteReplacedRootVolume": task.delete_replaced,
        "ImageId": task.image_id,
        "InstanceId": task.instance_id,
        "ReplaceRootVolumeTaskId": task.task_id,
        "SnapshotId": task.snapshot_id,
        "StartTime": _moment(task.started_at),
        "Tags": own_tags,
        "TaskState": task.state,
    }


@operation(
    "ec2",
    "CreateReplaceRootVolumeTask",
    mutates=True,
    honours=("DeleteReplacedRootVolume", "ImageId", "InstanceId", "SnapshotId", "TagSpecifications"),
)
def create_replace_root_volume_task(context: RequestContext, request: Parameters) -> Reply:
    """Begin to exchange the root of a running instance, which is rebooted with the new one."""
    session, account_id = context.session, context.account_id
    instance = instances.get(session, account_id, request["InstanceId"])
    image = images.get_launchable(session, account_id, request["ImageId"]) if "ImageId" in request else None
    task = replace_root_volume_tasks.begin(
        session,
        instance,
        snapshot_id=request.get("SnapshotId"),
        image=image,
        delete_replaced=request.get("DeleteReplacedRootVolume", False),
    )
    wanted = tags.tags_for(request.get("TagSpecifications"), _RESOURCE_TYPE)
    tags.put_tags(session, account_id, task.task_id, _RESOURCE_TYPE, wanted)
    context.host.enqueue(
        session,
        "replace_root_volume",
        task.task_id,
        key=instance.instance_id,
        workflow_id=f"replace_root_volume-{task.task_id}-{instances.new_token()}",
    )
    return {"ReplaceRootVolumeTask": _task_item(task, wanted)}


@operation(
    "ec2",
    "DescribeReplaceRootVolumeTasks",
    mutates=False,
    honours=("ReplaceRootVolumeTaskIds",),
    filters=FilterTable(item="ReplaceRootVolumeTasks[]", paths={"instance-id": "InstanceId"}),
    paged=Paged(
        result="ReplaceRootVolumeTasks",
        minimum=1,
        maximum=50,
        ids=("ReplaceRootVolumeTaskIds",),
        key="ReplaceRootVolumeTaskId",
    ),
)
def describe_replace_root_volume_tasks(context: RequestContext, request: Parameters) -> Reply:
    """List the account's tasks."""
    session, account_id = context.session, context.account_id
    found = replace_root_volume_tasks.visible(session, account_id, request.get("ReplaceRootVolumeTaskIds", ()))
    own_tags = tags.tags_of(session, account_id, [one.task_id for one in found])
    return {"ReplaceRootVolumeTasks": [_task_item(one, own_tags.get(one.task_id, [])) for one in found]}
