"""A running instance with a second volume, made through the API."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.framework.belongings import ZONE
from tests.framework.patience import WAITS


@contextmanager
def running_with_two_volumes(
    ec2: Any, image_id: str, *, size_gib: int, tags: Sequence[dict[str, Any]] = ()
) -> Iterator[str]:
    """Launch it, with the second volume at /dev/sdf; its id. It is terminated in the end."""
    mapping = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": size_gib, "DeleteOnTermination": True}}
    reply = ec2.run_instances(
        ImageId=image_id,
        InstanceType="t3.nano",
        MinCount=1,
        MaxCount=1,
        Placement={"AvailabilityZone": ZONE},
        BlockDeviceMappings=[mapping],
        TagSpecifications=list(tags),
    )
    instance_id: str = reply["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    yield instance_id
    ec2.terminate_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
