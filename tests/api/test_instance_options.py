"""Metadata options and their defaults, credits, monitoring and the like, through unmodified boto3."""

from collections.abc import Iterator
from typing import Any

import pytest

from bakehouse.database.session import Database
from bakehouse.paths import StateDirectory
from bakehouse.workflows.metadata import find_metadata
from tests.api.conftest import unique
from tests.api.test_nouns import refused
from tests.framework.belongings import Belongings
from tests.framework.service import Keys, Service

pytestmark = pytest.mark.programs
OPTIONS = {
    "HttpTokens": "optional",
    "HttpPutResponseHopLimit": 1,
    "HttpEndpoint": "enabled",
    "HttpProtocolIpv6": "disabled",
    "InstanceMetadataTags": "disabled",
}


def test_of_more_instances_than_fit_as_many_are_launched_as_do(ec2: Any, image_id: str) -> None:
    launch = {"ImageId": image_id, "InstanceType": "t3.2xlarge", "MaxCount": 100, "DryRun": True}
    assert refused(ec2.run_instances, MinCount=100, **launch) == "InsufficientInstanceCapacity"
    launch["InstanceType"] = "t3.nano"
    assert refused(ec2.run_instances, MinCount=1, **launch) == "DryRunOperation"


def test_what_clients_say_of_instances_as_all_are_is_no_wish(ec2: Any, image_id: str) -> None:
    interface = {"DeviceIndex": 0, "NetworkCardIndex": 0, "Ipv6AddressCount": 0, "SecondaryPrivateIpAddressCount": 0}
    names = {"EnableResourceNameDnsARecord": False, "EnableResourceNameDnsAAAARecord": False}
    parameters = {
        "CapacityReservationSpecification": {"CapacityReservationPreference": "open"},
        "MaintenanceOptions": {"AutoRecovery": "default"},
        "NetworkInterfaces": [{**interface, "Ipv4PrefixCount": 0, "Ipv6PrefixCount": 0, "DeleteOnTermination": True}],
        "NetworkPerformanceOptions": {"BandwidthWeighting": "default"},
        "PrivateDnsNameOptions": {"HostnameType": "ip-name", **names},
    }
    launch = {"ImageId": image_id, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1, "DryRun": True}
    assert refused(ec2.run_instances, **launch, **parameters) == "DryRunOperation"
    wishes = {"PrivateDnsNameOptions": {"HostnameType": "resource-name"}, "Ipv6AddressCount": 1}
    for name, value in wishes.items():
        assert refused(ec2.run_instances, **launch, **{name: value}) == "InvalidParameter"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("availability-zone-id", {"use1-az*": True, "use1-az9": False}),
        ("capacity-reservation-specification.capacity-reservation-preference", {"open": True, "none": False}),
        ("ebs-optimized", {"false": True}),
        ("ena-support", {"true": True, "false": False}),
        ("enclave-options.enabled", {"false": True, "true": False}),
        ("instance-lifecycle", {"spot": False}),
        ("ipv6-address", {"*": False}),
        ("maintenance-options.auto-recovery", {"default": True, "disabled": False}),
        ("metadata-options.http-put-response-hop-limit", {"?": True, "77": False}),
        ("network-interface.availability-zone", {"us-east-1?": True, "eu-*": False}),
        ("network-interface.outpost-arn", {"*": False}),
        ("network-interface.requester-managed", {"false": True, "true": False}),
        ("operator.managed", {"false": True, "true": False}),
        ("private-dns-name-options.hostname-type", {"ip-name": True, "resource-name": False}),
        ("requester-id", {"*": False}),
        ("spot-instance-request-id", {"*": False}),
        ("state-reason-message", {"no such reason": False}),
    ],
)
def test_instances_are_found_by_what_they_are(
    ec2: Any, belongings: Belongings, name: str, values: dict[str, bool]
) -> None:
    wanted = {"Name": "instance-id", "Values": [belongings.instance]}
    for value, is_found in values.items():
        filters = [wanted, {"Name": name, "Values": [value]}]
        assert bool(ec2.describe_instances(Filters=filters)["Reservations"]) == is_found, value


def test_the_status_of_an_instance_tells_of_its_volumes(ec2: Any, belongings: Belongings) -> None:
    filters = [{"Name": "attached-ebs-status.status", "Values": ["ok"]}]
    asked = {"InstanceIds": [belongings.instance], "Filters": filters}
    (status,) = ec2.describe_instance_status(**asked)["InstanceStatuses"]
    assert status["AttachedEbsStatus"] == {"Status": "ok", "Details": [{"Name": "reachability", "Status": "passed"}]}
    filters[0] = {"Name": "event.code", "Values": ["*"]}
    assert ec2.describe_instance_status(**asked)["InstanceStatuses"] == []


def test_a_tag_is_found_by_its_key_and_value(ec2: Any, belongings: Belongings) -> None:
    tag = {"Key": unique("filtered"), "Value": "yes"}
    ec2.create_tags(Resources=[belongings.instance, belongings.volume], Tags=[tag, {"Key": "other", "Value": "yes"}])
    for value, count in (("y?s", 2), ("no", 0)):
        found = ec2.describe_tags(Filters=[{"Name": f"tag:{tag['Key']}", "Values": [value]}])["Tags"]
        assert [one["Key"] for one in found] == [tag["Key"]] * count


def options_of(ec2: Any, instance_id: str) -> dict[str, Any]:
    instance = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    options: dict[str, Any] = instance["MetadataOptions"]
    return options


def metadata_of(service: Service, ec2: Any, instance_id: str) -> Any:
    """What the metadata service goes by when this instance asks."""
    instance = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    database = Database(f"sqlite:///{StateDirectory(root=service.state_root).database}")
    try:
        return find_metadata(database, instance["VpcId"], instance["PrivateIpAddress"])
    finally:
        database.close()


def test_metadata_options_are_what_the_metadata_service_goes_by(
    service: Service, ec2: Any, belongings: Belongings
) -> None:
    one = {"InstanceId": belongings.instance}
    assert options_of(ec2, belongings.instance) == {"State": "applied", **OPTIONS}
    changes = {"HttpTokens": "required", "HttpPutResponseHopLimit": 3, "InstanceMetadataTags": "enabled"}
    answer = ec2.modify_instance_metadata_options(**one, **changes)
    assert answer["InstanceMetadataOptions"] == {"State": "applied", **OPTIONS, **changes}
    assert options_of(ec2, belongings.instance) == {"State": "applied", **OPTIONS, **changes}
    about = metadata_of(service, ec2, belongings.instance)
    assert (about.requires_token, about.hop_limit, about.shows_tags, about.is_enabled) == (True, 3, True, True)
    ec2.modify_instance_metadata_options(**one, HttpEndpoint="disabled")
    assert not metadata_of(service, ec2, belongings.instance).is_enabled
    restored = {name: value for name, value in OPTIONS.items() if name != "HttpProtocolIpv6"}
    ec2.modify_instance_metadata_options(**one, **restored)
    assert options_of(ec2, belongings.instance) == {"State": "applied", **OPTIONS}
    for wrong in (0, 65, -1):
        code = refused(ec2.modify_instance_metadata_options, **one, HttpPutResponseHopLimit=wrong)
        assert code == "InvalidParameterValue"
    assert refused(ec2.modify_instance_metadata_options, **one, HttpProtocolIpv6="enabled") == "InvalidParameter"


def test_tags_shown_in_the_metadata_have_keys_that_are_names_there(ec2: Any, belongings: Belongings) -> None:
    one = {"InstanceId": belongings.instance}
    for key in ("a/b", "a b", "..", "_index"):
        tag = [{"Key": key, "Value": "v"}]
        ec2.create_tags(Resources=[belongings.instance], Tags=tag)
        assert refused(ec2.modify_instance_metadata_options, **one, InstanceMetadataTags="enabled") == (
            "InvalidParameterValue"
        )
        ec2.delete_tags(Resources=[belongings.instance], Tags=tag)
    ec2.modify_instance_metadata_options(**one, InstanceMetadataTags="enabled")
    tag = [{"Key": "a/b", "Value": "v"}]
    assert refused(ec2.create_tags, Resources=[belongings.instance], Tags=tag) == "InvalidParameterValue"
    ec2.modify_instance_metadata_options(**one, InstanceMetadataTags="disabled")
    run = {"ImageId": belongings.image, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1}
    specification = [{"ResourceType": "instance", "Tags": tag}]
    shown = {"InstanceMetadataTags": "enabled"}
    assert refused(ec2.run_instances, **run, MetadataOptions=shown, TagSpecifications=specification) == (
        "InvalidParameterValue"
    )


@pytest.fixture
def other_ec2(service: Service, other_keys: Keys) -> Iterator[Any]:
    """A client of another account, whose defaults are forgotten at the end."""
    client = service.client(keys=other_keys)
    yield client
    nothing = {"HttpTokens": "no-preference", "HttpEndpoint": "no-preference", "HttpPutResponseHopLimit": -1}
    client.modify_instance_metadata_defaults(**nothing, InstanceMetadataTags="no-preference")
    assert client.get_instance_metadata_defaults()["AccountLevel"] == {"ManagedBy": "account"}


def launched_options(ec2: Any, image_id: str, **said: Any) -> dict[str, Any]:
    """The options a launch that says these is given."""
    run = {"ImageId": image_id, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1}
    instance = ec2.run_instances(**run, **({"MetadataOptions": said} if said else {}))["Instances"][0]
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]], SkipOsShutdown=True)
    too_late = {"InstanceId": instance["InstanceId"], "HttpTokens": "required"}
    assert refused(ec2.modify_instance_metadata_options, **too_late) == "IncorrectInstanceState"
    options: dict[str, Any] = instance["MetadataOptions"]
    return options


def test_an_account_chooses_what_its_launches_begin_with(ec2: Any, other_ec2: Any, image_id: str) -> None:
    assert launched_options(other_ec2, image_id)["HttpTokens"] == "optional"
    other_ec2.modify_instance_metadata_defaults(HttpTokens="required", HttpPutResponseHopLimit=5)
    other_ec2.modify_instance_metadata_defaults(InstanceMetadataTags="enabled")
    chosen = {"HttpTokens": "required", "HttpPutResponseHopLimit": 5, "InstanceMetadataTags": "enabled"}
    assert other_ec2.get_instance_metadata_defaults()["AccountLevel"] == {"ManagedBy": "account", **chosen}
    assert ec2.get_instance_metadata_defaults()["AccountLevel"] == {"ManagedBy": "account"}
    assert launched_options(other_ec2, image_id) == {"State": "applied", **OPTIONS, **chosen}
    said = launched_options(other_ec2, image_id, HttpTokens="optional")
    assert said == {"State": "applied", **OPTIONS, **chosen, "HttpTokens": "optional"}
    modify = other_ec2.modify_instance_metadata_defaults
    assert refused(modify, HttpPutResponseHopLimit=65) == "InvalidParameterValue"
    assert refused(modify, HttpTokensEnforced="enabled") == "InvalidParameter"


def test_a_burstable_instance_has_standard_credits(ec2: Any, belongings: Belongings) -> None:
    describe = ec2.describe_instance_credit_specifications
    named = describe(InstanceIds=[belongings.instance])["InstanceCreditSpecifications"]
    assert named == [{"InstanceId": belongings.instance, "CpuCredits": "standard"}]
    assert describe()["InstanceCreditSpecifications"] == []
    unknown = "i-00000000000000001"
    wanted = [
        {"InstanceId": belongings.instance, "CpuCredits": "standard"},
        {"InstanceId": belongings.instance, "CpuCredits": "unlimited"},
        {"InstanceId": unknown, "CpuCredits": "standard"},
    ]
    answer = ec2.modify_instance_credit_specification(InstanceCreditSpecifications=wanted)
    assert answer["SuccessfulInstanceCreditSpecifications"] == [{"InstanceId": belongings.instance}]
    unsuccessful = answer["UnsuccessfulInstanceCreditSpecifications"]
    assert [(one["InstanceId"], one["Error"]["Code"]) for one in unsuccessful] == [
        (belongings.instance, "InstanceCreditSpecification.NotSupported"),
        (unknown, "InvalidInstanceID.NotFound"),
    ]
    wrong = [{"InstanceId": belongings.instance, "CpuCredits": "some"}]
    code = refused(ec2.modify_instance_credit_specification, InstanceCreditSpecifications=wrong)
    assert code == "InvalidParameterValue"


def test_what_no_instance_has_is_said_to_be_off_and_cannot_be_turned_on(ec2: Any, belongings: Belongings) -> None:
    one = {"InstanceId": belongings.instance}
    off = ec2.unmonitor_instances(InstanceIds=[belongings.instance])["InstanceMonitorings"]
    assert off == [{**one, "Monitoring": {"State": "disabled"}}]
    assert refused(ec2.monitor_instances, InstanceIds=[belongings.instance]) == "UnsupportedOperation"
    password = ec2.get_password_data(**one)
    assert password["PasswordData"] == ""
    ec2.reset_instance_attribute(**one, Attribute="sourceDestCheck")
    assert refused(ec2.reset_instance_attribute, **one, Attribute="kernel") == "UnsupportedOperation"
    assert refused(ec2.reset_instance_attribute, **one, Attribute="userData") == "InvalidParameterCombination"
    limits = ec2.describe_account_attributes(AttributeNames=["max-elastic-ips"])["AccountAttributes"]
    assert [value["AttributeValue"] for value in limits[0]["AttributeValues"]] == ["5"]


def test_uefi_data_are_refused_as_terraform_asks_for_them(ec2: Any, belongings: Belongings) -> None:
    for asked in (belongings.image, belongings.instance):
        assert refused(ec2.get_instance_uefi_data, InstanceId=asked) == "UnsupportedOperation"
