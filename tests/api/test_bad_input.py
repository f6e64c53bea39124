"""Requests that cannot be done, each with the code EC2 answers; none of them changes anything."""

import re
from typing import Any

import pytest

from tests.api.conftest import unique
from tests.framework.belongings import ZONE, Belongings
from tests.framework.caller import Caller
from tests.framework.naming import NAMINGS, request_for

pytestmark = pytest.mark.programs

MALFORMED = {
    "image": "InvalidAMIID.Malformed",
    "instance": "InvalidInstanceID.Malformed",
    "key_pair": "InvalidKeyPair.NotFound",
    "network_interface": "InvalidNetworkInterfaceId.Malformed",
    "security_group": "InvalidGroupId.Malformed",
    "security_group_rule": "InvalidSecurityGroupRuleId.Malformed",
    "snapshot": "InvalidSnapshotID.Malformed",
    "subnet": "InvalidSubnetID.Malformed",
    "volume": "InvalidVolumeID.Malformed",
    "vpc": "InvalidVpcID.Malformed",
}
PREFIXES = {
    "image": "ami",
    "instance": "i",
    "key_pair": "key",
    "network_interface": "eni",
    "security_group": "sg",
    "security_group_rule": "sgr",
    "snapshot": "snap",
    "subnet": "subnet",
    "volume": "vol",
    "vpc": "vpc",
}


def filled(value: Any, own: Belongings) -> Any:
    """The parameters with ``"{kind}"`` replaced by the id of the caller's own."""
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda match: getattr(own, match[1]), value)
    if isinstance(value, dict):
        return {name: filled(item, own) for name, item in value.items()}
    return [filled(item, own) for item in value] if isinstance(value, list) else value


def run(**more: Any) -> tuple[str, dict[str, Any]]:
    return "RunInstances", {"ImageId": "{image}", "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1, **more}


def device(name: str, **ebs: Any) -> dict[str, Any]:
    return {"BlockDeviceMappings": [{"DeviceName": name, "Ebs": ebs}]}


def register(**more: Any) -> tuple[str, dict[str, Any]]:
    root = device("/dev/xvda", SnapshotId="{snapshot}")
    return "RegisterImage", {"Name": "never-made", "RootDeviceName": "/dev/xvda", **root, **more}


def volume(**more: Any) -> tuple[str, dict[str, Any]]:
    return "CreateVolume", {"AvailabilityZone": ZONE, "Size": 1, **more}


def rule(**more: Any) -> tuple[str, dict[str, Any]]:
    return "AuthorizeSecurityGroupIngress", {"GroupId": "{security_group}", "IpPermissions": [more]}


def tag(*tags: tuple[str, str]) -> tuple[str, dict[str, Any]]:
    return "CreateTags", {"Resources": ["{volume}"], "Tags": [{"Key": key, "Value": value} for key, value in tags]}


def tagged(kind: str, *more: str) -> dict[str, Any]:
    return {"TagSpecifications": [{"ResourceType": one, "Tags": [{"Key": "k", "Value": "v"}]} for one in (kind, *more)]}


def modify(**more: Any) -> tuple[str, dict[str, Any]]:
    return "ModifyInstanceAttribute", {"InstanceId": "{instance}", **more}


def listing(operation: str, name: str = "", *values: str, **more: Any) -> tuple[str, dict[str, Any]]:
    filters = {"Filters": [{"Name": name, "Values": list(values)}]} if name else {}
    return operation, {**filters, **more}


WEB = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80}
EVERYBODY = [{"CidrIp": "0.0.0.0/0"}]
REFUSED: list[tuple[str, tuple[str, dict[str, Any]]]] = [
    # instances
    ("MissingParameter", ("RunInstances", {"MinCount": 1, "MaxCount": 1})),
    ("MissingParameter", ("RunInstances", {"ImageId": "{image}"})),
    ("InvalidParameterValue", run(MinCount=0)),
    ("InvalidParameterValue", run(MinCount=2)),
    ("InvalidParameterValue", run(InstanceType="t3.enormous")),
    ("InvalidKeyPair.NotFound", run(KeyName="no-such-key")),
    ("InvalidUserData.Malformed", run(UserData="%%% no base64 %%%")),
    ("InvalidParameterValue", run(UserData="QUFB" * (16384 // 3 + 1))),
    ("InsufficientInstanceCapacity", run(InstanceType="r7a.48xlarge")),
    ("InstanceLimitExceeded", run(MaxCount=1000)),
    ("InvalidParameterValue", run(Placement={"AvailabilityZone": "us-east-1z"})),
    ("InvalidParameterValue", run(SubnetId="{subnet}", PrivateIpAddress="10.9.8.7")),
    ("InvalidParameterValue", run(SubnetId="{subnet}", PrivateIpAddress="nonsense")),
    ("InvalidParameterCombination", run(MaxCount=2, PrivateIpAddress="172.31.0.99")),
    ("InvalidParameterCombination", run(SubnetId="{subnet}", NetworkInterfaces=[{"DeviceIndex": 0}])),
    ("InvalidGroup.NotFound", run(SecurityGroups=["no-such-group"])),
    ("InvalidParameter", run(CpuOptions={"CoreCount": 1})),
    ("InvalidParameter", run(Monitoring={"Enabled": True})),
    ("InvalidParameter", run(HibernationOptions={"Configured": True})),
    ("InvalidBlockDeviceMapping", run(**device("/dev/xvda", SnapshotId="snap-00000000000000001"))),
    ("InvalidBlockDeviceMapping", run(**device("/dev/sdf"))),
    ("InvalidBlockDeviceMapping", run(**device("nonsense", VolumeSize=1))),
    ("InvalidBlockDeviceMapping", run(BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "NoDevice": ""}])),
    ("InvalidBlockDeviceMapping", run(BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}] * 2)),
    ("InvalidSnapshot.NotFound", run(**device("/dev/sdf", SnapshotId="snap-00000000000000001"))),
    ("InvalidParameterValue", run(**device("/dev/sdf", VolumeSize=10**6))),
    ("InvalidParameterValue", run(**device("/dev/sdf", VolumeSize=1, VolumeType="gp9"))),
    ("MissingParameter", run(**device("/dev/sdf", VolumeSize=4, VolumeType="io1"))),
    ("InvalidParameterCombination", run(**device("/dev/sdf", VolumeSize=4, VolumeType="gp2", Iops=100))),
    ("InvalidParameter", run(**device("/dev/sdf", VolumeSize=1, Encrypted=True))),
    ("IncorrectInstanceState", modify(InstanceType={"Value": "t3.micro"})),
    ("IncorrectInstanceState", modify(UserData={"Value": b"x"})),
    ("InvalidParameterValue", modify(InstanceInitiatedShutdownBehavior={"Value": "explode"})),
    ("InvalidParameterValue", modify(Attribute="disableApiTermination", Value="perhaps")),
    ("InvalidParameterCombination", modify(Attribute="productCodes", Value="x")),
    ("UnsupportedOperation", modify(SourceDestCheck={"Value": False})),
    ("UnsupportedOperation", modify(Attribute="sourceDestCheck", Value="false")),
    ("InvalidGroup.NotFound", modify(Groups=["sg-00000000000000001"])),
    ("MissingParameter", modify()),
    ("InvalidInstanceAttributeValue", modify(BlockDeviceMappings=[{"DeviceName": "/dev/sdz"}])),
    # images
    ("InvalidAMIName.Malformed", register(Name="ab")),
    ("InvalidAMIName.Malformed", register(Name="a" * 129)),
    ("InvalidAMIName.Malformed", register(Name="star*")),
    ("InvalidAMIName.Malformed", ("CreateImage", {"InstanceId": "{instance}", "Name": "tab\tname"})),
    ("InvalidAMIName.Duplicate", register(Name="{key_pair_name}")),
    ("InvalidAMIName.Duplicate", ("CreateImage", {"InstanceId": "{instance}", "Name": "{key_pair_name}"})),
    ("InvalidParameterValue", register(Description="d" * 256)),
    ("InvalidBlockDeviceMapping", register(**device("/dev/xvda", VolumeSize=1))),
    ("InvalidBlockDeviceMapping", register(**device("/dev/sdf", SnapshotId="{snapshot}"))),
    ("UnsupportedOperation", register(Architecture="arm64")),
    ("InvalidParameter", register(VirtualizationType="paravirtual")),
    ("InvalidParameter", register(ImageLocation="bucket/manifest.xml")),
    ("InvalidSnapshot.InUse", ("DeleteSnapshot", {"SnapshotId": "{snapshot}"})),
    ("MissingParameter", ("ModifyImageAttribute", {"ImageId": "{image}"})),
    (
        "InvalidAMIAttributeItemValue",
        ("ModifyImageAttribute", {"ImageId": "{image}", "LaunchPermission": {"Add": [{"UserId": "12"}]}}),
    ),
    (
        "InvalidAMIAttributeItemValue",
        ("ModifyImageAttribute", {"ImageId": "{image}", "LaunchPermission": {"Add": [{"Group": "friends"}]}}),
    ),
    ("InvalidParameterValue", ("ResetImageAttribute", {"ImageId": "{image}", "Attribute": "description"})),
    # volumes and snapshots
    ("MissingParameter", ("CreateVolume", {"Size": 1})),
    ("InvalidParameterValue", volume(Size=0)),
    ("InvalidParameterValue", volume(AvailabilityZone="us-east-1z")),
    ("MissingParameter", ("CreateVolume", {"AvailabilityZone": ZONE})),
    ("InvalidParameter", volume(Encrypted=True)),
    ("InvalidParameterCombination", volume(VolumeType="standard", Iops=100)),
    ("VolumeInUse", ("DeleteVolume", {"VolumeId": "{attached_volume}"})),
    (
        "VolumeInUse",
        ("AttachVolume", {"VolumeId": "{attached_volume}", "InstanceId": "{instance}", "Device": "/dev/sdf"}),
    ),
    ("InvalidParameterValue", ("AttachVolume", {"VolumeId": "{volume}", "InstanceId": "{instance}", "Device": "sdf"})),
    (
        "InvalidParameterValue",
        ("AttachVolume", {"VolumeId": "{volume}", "InstanceId": "{instance}", "Device": "/dev/xvda"}),
    ),
    ("IncorrectState", ("DetachVolume", {"VolumeId": "{volume}"})),
    ("OperationNotPermitted", ("DetachVolume", {"VolumeId": "{attached_volume}"})),
    ("InvalidAttachment.NotFound", ("DetachVolume", {"VolumeId": "{attached_volume}", "Device": "/dev/sdz"})),
    # key pairs
    ("InvalidKeyPair.Duplicate", ("CreateKeyPair", {"KeyName": "{key_pair_name}"})),
    ("InvalidParameterValue", ("CreateKeyPair", {"KeyName": "k" * 256})),
    ("MissingParameter", ("CreateKeyPair", {"KeyName": ""})),
    ("InvalidParameterValue", ("CreateKeyPair", {"KeyName": "never-made", "KeyType": "dsa"})),
    ("InvalidParameter", ("CreateKeyPair", {"KeyName": "never-made", "KeyFormat": "ppk"})),
    ("InvalidKey.Format", ("ImportKeyPair", {"KeyName": "never-made", "PublicKeyMaterial": b"garbage"})),
    ("MissingParameter", ("DeleteKeyPair", {})),
    # security groups
    ("InvalidGroup.Duplicate", ("CreateSecurityGroup", {"GroupName": "{security_group_name}", "Description": "d"})),
    ("InvalidParameterValue", ("CreateSecurityGroup", {"GroupName": "sg-mine", "Description": "d"})),
    ("InvalidParameterValue", ("CreateSecurityGroup", {"GroupName": "g" * 256, "Description": "d"})),
    ("DependencyViolation", ("DeleteSecurityGroup", {"GroupId": "{security_group}"})),
    ("CannotDelete", ("DeleteSecurityGroup", {"GroupName": "default"})),
    ("MissingParameter", ("DeleteSecurityGroup", {})),
    ("InvalidParameterValue", rule(**WEB, IpRanges=[{"CidrIp": "1.2.3.4/33"}])),
    ("InvalidParameterValue", rule(**WEB, Ipv6Ranges=[{"CidrIpv6": "1.2.3.0/24"}])),
    ("InvalidParameterValue", rule(IpProtocol="tcp", FromPort=90, ToPort=80, IpRanges=EVERYBODY)),
    ("InvalidParameterValue", rule(IpProtocol="tcp", FromPort=0, ToPort=65536, IpRanges=EVERYBODY)),
    ("InvalidParameterValue", rule(IpProtocol="carrier-pigeon", IpRanges=EVERYBODY)),
    ("InvalidPermission.Duplicate", rule(**{**WEB, "FromPort": 22, "ToPort": 22}, IpRanges=[{"CidrIp": "10.0.0.0/8"}])),
    ("InvalidParameter", rule(**WEB, PrefixListIds=[{"PrefixListId": "pl-12345678"}])),
    (
        "InvalidGroup.NotFound",
        rule(**WEB, UserIdGroupPairs=[{"GroupId": "{security_group}", "UserId": "999999999999"}]),
    ),
    ("MissingParameter", ("AuthorizeSecurityGroupIngress", {"GroupId": "{security_group}"})),
    (
        "InvalidPermission.NotFound",
        (
            "RevokeSecurityGroupIngress",
            {"GroupId": "{security_group}", "IpPermissions": [{**WEB, "IpRanges": EVERYBODY}]},
        ),
    ),
    # tags
    ("InvalidParameterValue", tag(("aws:mine", "v"))),
    ("InvalidParameterValue", tag(("k" * 129, "v"))),
    ("InvalidParameterValue", tag(("k", "v" * 257))),
    ("InvalidParameterValue", tag(("k", "1"), ("k", "2"))),
    ("TagLimitExceeded", tag(*((f"k{number}", "v") for number in range(50)))),
    ("MissingParameter", ("CreateTags", {"Resources": ["{volume}"]})),
    ("InvalidID", ("CreateTags", {"Resources": ["nonsense"], "Tags": [{"Key": "k"}]})),
    ("InvalidParameterValue", volume(**tagged("instance"))),
    ("InvalidParameterValue", volume(**tagged("volume", "volume"))),
    # listings
    ("InvalidParameterValue", listing("DescribeInstances", "no-such-filter", "x")),
    ("InvalidParameterValue", listing("DescribeRegions", "tag:k", "v")),
    ("FilterLimitExceeded", listing("DescribeVolumes", "status", *(str(number) for number in range(201)))),
    ("FilterLimitExceeded", listing("DescribeVolumes", "status", "x" * 256)),
    ("MissingParameter", ("DescribeVolumes", {"Filters": [{"Name": "status"}]})),
    ("InvalidParameterValue", listing("DescribeInstances", MaxResults=4)),
    ("InvalidParameterValue", listing("DescribeInstances", MaxResults=1001)),
    ("InvalidParameterCombination", listing("DescribeInstances", MaxResults=5, InstanceIds=["{instance}"])),
    ("InvalidPaginationToken", listing("DescribeInstances", NextToken="nonsense")),
    ("InvalidPaginationToken", listing("DescribeVolumes", NextToken="AAAA")),
    ("InvalidInstanceType", listing("DescribeInstanceTypes", InstanceTypes=["t3.enormous"])),
    ("InvalidParameterValue", listing("DescribeRegions", RegionNames=["moon-north-1"])),
]


@pytest.mark.parametrize(
    ("code", "request_"),
    [pytest.param(code, one, id=f"{one[0]}-{code}-{number}") for number, (code, one) in enumerate(REFUSED)],
)
def test_a_request_that_cannot_be_done_is_refused_with_ec2s_code(
    administrator: Caller, belongings: Belongings, code: str, request_: tuple[str, dict[str, Any]]
) -> None:
    operation, parameters = request_
    answer = administrator.call(operation, filled(parameters, belongings))
    assert (answer.code, answer.status) == (code, 400), answer.message


def code_of_item(parsed: dict[str, Any]) -> str:
    """The code with which a reply refuses its one item."""
    [(_, items)] = [(name, value) for name, value in parsed.items() if name.startswith("Unsuccessful")]
    return str(items[0]["Error"]["Code"])


def test_every_parameter_that_takes_an_id_tells_a_malformed_one_apart(
    administrator: Caller, belongings: Belongings
) -> None:
    wrong = []
    for naming in NAMINGS:
        if naming.kind not in PREFIXES:
            continue
        for suffix in ("nonsense", "0123456789ABCDEF0", "0" * 40):
            malformed = f"{PREFIXES[naming.kind]}-{suffix}"
            answer = administrator.call(naming.operation, request_for(naming, malformed, belongings))
            if (naming.operation, answer.status) == ("DeleteKeyPair", 200):
                continue
            # Some operations answer for each item by itself.
            code = answer.code if answer.status != 200 else code_of_item(answer.parsed)
            if code != MALFORMED[naming.kind]:
                wrong.append(f"{naming} {malformed}: {code} {answer.message}")
    assert not wrong, "\n".join(wrong)


def test_a_client_token_gives_the_same_answer_again_and_refuses_another_question(
    administrator: Caller, belongings: Belongings
) -> None:
    token = unique("token")
    parameters = {"AvailabilityZone": ZONE, "Size": 1, "ClientToken": token}
    first, again = (administrator.call("CreateVolume", parameters).parsed["VolumeId"] for _ in range(2))
    assert first == again
    other = administrator.call("CreateVolume", {**parameters, "Size": 2})
    assert other.code == "IdempotentParameterMismatch"
    administrator.call("DeleteVolume", {"VolumeId": first})


def test_pages_of_one_listing_cannot_be_turned_in_another(administrator: Caller, other: Caller) -> None:
    page = administrator.call("DescribeInstanceTypes", {"MaxResults": 5})
    token = page.parsed["NextToken"]
    assert len(page.parsed["InstanceTypes"]) == 5
    types = {"NextToken": token, "MaxResults": 5}
    following = administrator.call("DescribeInstanceTypes", types).parsed["InstanceTypes"]
    assert not {one["InstanceType"] for one in following} & {
        one["InstanceType"] for one in page.parsed["InstanceTypes"]
    }
    filtered = {**types, "Filters": [{"Name": "instance-type", "Values": ["t3.*"]}]}
    tampered = {"NextToken": token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")}
    for caller, operation, parameters in (
        (administrator, "DescribeInstanceTypeOfferings", types),
        (administrator, "DescribeInstanceTypes", filtered),
        (administrator, "DescribeInstanceTypes", tampered),
        (other, "DescribeInstanceTypes", types),
    ):
        assert caller.call(operation, parameters).code == "InvalidPaginationToken"


def test_filters_take_wildcards_and_tags(administrator: Caller, belongings: Belongings) -> None:
    name = belongings.key_pair_name

    def found(*filters: tuple[str, str]) -> bool:
        parameters = {"Filters": [{"Name": key, "Values": [value]} for key, value in filters]}
        volumes = administrator.call("DescribeVolumes", parameters).parsed["Volumes"]
        return belongings.volume in {one["VolumeId"] for one in volumes}

    assert found((f"tag:{name}", "belonging-*"), ("volume-id", "vol-????????*"))
    assert found(("tag-key", name))
    assert not found((f"tag:{name}", "belonging"))
    assert not found((f"tag:{name}", "*"), ("status", "error"))
    assert not found((f"tag:{name}", r"belonging\*"))
