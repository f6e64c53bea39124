"""What stands before every operation: whose the service's files are, where it says it is, and whom it believes."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.api.conftest import unique
from tests.api.test_nouns import refused
from tests.framework.belongings import Belongings
from tests.framework.service import Service

_OTHERS_READ_OR_WRITE, _OTHERS_PASS = 0o066, 0o011


def _in_reach_of_others(directory: Path) -> Iterator[tuple[Path, int]]:
    if not directory.stat().st_mode & _OTHERS_PASS:
        return
    for path in directory.iterdir():
        mode = path.lstat().st_mode
        yield path, mode
        if stat.S_ISDIR(mode):
            yield from _in_reach_of_others(path)


def test_nothing_of_the_state_directory_is_readable_by_others(service: Service, belongings: Belongings) -> None:
    assert belongings
    seen = list(_in_reach_of_others(service.state_root))
    assert {"bakehouse.db", "bakehouse.db-wal", "instances", "lock"} <= {path.name for path, _ in seen}
    readable = [(path, stat.filemode(mode)) for path, mode in seen if mode & _OTHERS_READ_OR_WRITE]
    assert readable == []


def test_a_launch_that_is_over_is_neither_repeated_nor_run_anew_under_its_token(ec2: Any, image_id: str) -> None:
    launch = {"ImageId": image_id, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1, "ClientToken": unique("t")}
    instance_id = ec2.run_instances(**launch)["Instances"][0]["InstanceId"]
    assert ec2.run_instances(**launch)["Instances"][0]["InstanceId"] == instance_id
    ec2.terminate_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance_id], WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    assert refused(ec2.run_instances, **launch) == "IdempotentInstanceTerminated"
    assert refused(ec2.run_instances, **{**launch, "MaxCount": 2}) == "IdempotentParameterMismatch"
