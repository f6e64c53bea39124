"""The errors of CreateReplaceRootVolumeTask and DescribeReplaceRootVolumeTasks.

The EC2 Developer Guide lists none of its own for this noun; the codes are formed as those of all other ids are.
"""

from bakehouse.errors import ApiError


def task_not_found(task_id: str) -> ApiError:
    """No such task in the account."""
    message = f"The replace root volume task ID '{task_id}' does not exist"
    return ApiError("InvalidReplaceRootVolumeTaskId.NotFound", message)


def task_id_malformed(task_id: str) -> ApiError:
    """Not the form of a task's id."""
    return ApiError("InvalidReplaceRootVolumeTaskId.Malformed", f'Invalid id: "{task_id}" (expecting "replacevol-...")')
