"""One of everything an account can have, all of it tagged; its guest is one sector that mostly sleeps."""

import os
from dataclasses import asdict, dataclass
from typing import Any

from tests.framework.identities import trusting
from tests.framework.patience import WAITS, wait_for
from tests.framework.service import Keys, Service

ZONE = "us-east-1a"


@dataclass(frozen=True, kw_only=True)
class Belongings:
    """Ids and names by kind. ``instance`` runs; ``volume`` is available; ``image`` is private."""

    account_id: str
    address_association: str
    attached_volume: str
    dhcp_options: str
    elastic_address: str
    image: str
    instance: str
    internet_gateway: str
    instance_profile_arn: str
    instance_profile_name: str
    key_pair: str
    key_pair_name: str
    launch_template: str
    launch_template_name: str
    network_acl: str
    network_interface: str
    network_interface_attachment: str
    profile_association: str
    public_ip: str
    replace_root_volume_task: str
    route_table: str
    security_group: str
    security_group_name: str
    security_group_rule: str
    snapshot: str
    subnet: str
    volume: str
    vpc: str

    def words(self) -> list[str]:
        """Everything that nobody else may be shown."""
        return list(asdict(self).values())


def acquire(service: Service, keys: Keys, image_id: str) -> Belongings:
    """Make one of everything; the instance is launched from ``image_id`` with the account's own group and key."""
    ec2 = service.client(keys=keys)
    name = f"belonging-{os.urandom(4).hex()}"
    pair = ec2.create_key_pair(KeyName=name, KeyType="ed25519")
    group_id = ec2.create_security_group(GroupName=name, Description="d")["GroupId"]
    rule = ec2.authorize_security_group_ingress(
        GroupId=group_id, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="10.0.0.0/8"
    )["SecurityGroupRules"][0]
    volume_id = ec2.create_volume(AvailabilityZone=ZONE, Size=1)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=WAITS)
    snapshot_id = ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    instance = _launch(ec2, image_id, name, group_id)
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig=WAITS)
    mapping = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}
    own_image = ec2.register_image(Name=name, RootDeviceName="/dev/xvda", BlockDeviceMappings=[mapping])["ImageId"]
    address = ec2.allocate_address()
    association_id = ec2.associate_address(AllocationId=address["AllocationId"], InstanceId=instance["InstanceId"])[
        "AssociationId"
    ]
    task_id, root_id = _replace_root(ec2, instance["InstanceId"])
    profile = _make_profile(service.client("iam", keys), name)
    template = ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData={"InstanceType": "t3.nano"})
    ids = {
        "attached_volume": root_id,
        "elastic_address": address["AllocationId"],
        "image": own_image,
        "instance": instance["InstanceId"],
        "key_pair": pair["KeyPairId"],
        "launch_template": template["LaunchTemplate"]["LaunchTemplateId"],
        "network_interface": instance["NetworkInterfaces"][0]["NetworkInterfaceId"],
        "replace_root_volume_task": task_id,
        "security_group": group_id,
        "security_group_rule": rule["SecurityGroupRuleId"],
        "snapshot": snapshot_id,
        "subnet": instance["SubnetId"],
        "volume": volume_id,
        "vpc": instance["VpcId"],
        **_parts_of(ec2),
    }
    ec2.create_tags(Resources=list(ids.values()), Tags=[{"Key": name, "Value": name}])
    return Belongings(
        account_id=keys.account_id,
        address_association=association_id,
        network_interface_attachment=instance["NetworkInterfaces"][0]["Attachment"]["AttachmentId"],
        instance_profile_arn=profile["Arn"],
        instance_profile_name=name,
        key_pair_name=name,
        launch_template_name=name,
        profile_association=_associate(ec2, instance["InstanceId"], name),
        public_ip=address["PublicIp"],
        security_group_name=name,
        **ids,
    )


def lasting(parsed: dict[str, Any]) -> dict[str, Any]:
    """An answer without what changes by itself: a guest of which no network hears turns impaired in time."""
    statuses = parsed.get("InstanceStatuses")
    if statuses is None:
        return parsed
    kept = [{name: value for name, value in one.items() if not name.endswith("Status")} for one in statuses]
    return {**parsed, "InstanceStatuses": kept}


def _make_profile(iam: Any, name: str) -> dict[str, Any]:
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusting("ec2.amazonaws.com"))
    profile: dict[str, Any] = iam.create_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return profile


def _associate(ec2: Any, instance_id: str, profile_name: str) -> str:
    reply = ec2.associate_iam_instance_profile(InstanceId=instance_id, IamInstanceProfile={"Name": profile_name})
    return str(reply["IamInstanceProfileAssociation"]["AssociationId"])


def _launch(ec2: Any, image_id: str, key_name: str, group_id: str) -> dict[str, Any]:
    reply = ec2.run_instances(
        ImageId=image_id,
        InstanceType="t3.nano",
        MinCount=1,
        MaxCount=1,
        KeyName=key_name,
        SecurityGroupIds=[group_id],
    )
    instance_id = reply["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    found: dict[str, Any] = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    return found


def _parts_of(ec2: Any) -> dict[str, str]:
    """What the default VPC has one of."""
    return {
        "dhcp_options": ec2.describe_dhcp_options()["DhcpOptions"][0]["DhcpOptionsId"],
        "internet_gateway": ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"],
        "network_acl": ec2.describe_network_acls()["NetworkAcls"][0]["NetworkAclId"],
        "route_table": ec2.describe_route_tables()["RouteTables"][0]["RouteTableId"],
    }


def _replace_root(ec2: Any, instance_id: str) -> tuple[str, str]:
    """Exchange the root volume; the task and the root there is now."""
    task = ec2.create_replace_root_volume_task(InstanceId=instance_id, DeleteReplacedRootVolume=True)
    task_id = task["ReplaceRootVolumeTask"]["ReplaceRootVolumeTaskId"]

    def has_succeeded() -> bool:
        (found,) = ec2.describe_replace_root_volume_tasks(ReplaceRootVolumeTaskIds=[task_id])["ReplaceRootVolumeTasks"]
        return bool(found["TaskState"] == "succeeded")

    wait_for(has_succeeded, "another root")
    instance = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    return task_id, instance["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
