"""Elastic addresses through unmodified boto3: whose they are, where they lead, and what survives what."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from bakehouse.database.session import Database
from bakehouse.domain.elastic_addresses import MAX_ADDRESSES
from bakehouse.paths import StateDirectory
from bakehouse.workflows.metadata import find_metadata
from tests.api.conftest import unique
from tests.api.test_nouns import refused
from tests.framework.held import held
from tests.framework.patience import WAITS, wait_for
from tests.framework.service import Keys, Service

pytestmark = pytest.mark.programs
PORT = 8080


@pytest.fixture(scope="module")
def own(service: Service) -> Any:
    """The client of an account of these tests' own: addresses are limited."""
    return service.client(keys=service.new_account())


@pytest.fixture(scope="module")
def pair(own: Any, image_id: str) -> Iterator[list[str]]:
    """Two running instances whose group opens one port."""
    group_id = own.create_security_group(GroupName=unique("group"), Description="d")["GroupId"]
    own.authorize_security_group_ingress(
        GroupId=group_id, IpProtocol="tcp", FromPort=PORT, ToPort=PORT, CidrIp="0.0.0.0/0"
    )
    run = {"ImageId": image_id, "InstanceType": "t3.nano", "SecurityGroupIds": [group_id]}
    ids = [one["InstanceId"] for one in own.run_instances(**run, MinCount=2, MaxCount=2)["Instances"]]
    own.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig=WAITS)
    yield ids
    own.terminate_instances(InstanceIds=ids, SkipOsShutdown=True)


@pytest.fixture
def address(own: Any) -> Iterator[dict[str, Any]]:
    """An address, given back at the end whatever it leads to by then."""
    allocated = own.allocate_address(Domain="vpc")
    yield allocated
    for one in own.describe_addresses(AllocationIds=[allocated["AllocationId"]])["Addresses"]:
        if "AssociationId" in one:
            own.disassociate_address(AssociationId=one["AssociationId"])
    own.release_address(AllocationId=allocated["AllocationId"])


def described(own: Any, instance_id: str) -> dict[str, Any]:
    found: dict[str, Any] = own.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    return found


def listens(public_ip: str) -> bool:
    """Whether the address leads to a guest at the very port (the guest itself may not answer)."""
    try:
        socket.create_connection((public_ip, PORT), timeout=60).close()
    except ConnectionRefusedError:
        return False
    return True


def becomes(public_ip: str, wanted: bool) -> bool:
    wait_for(lambda: listens(public_ip) == wanted, f"{public_ip} to be {'open' if wanted else 'closed'}")
    return True


def metadata_of(service: Service, instance: dict[str, Any]) -> Any:
    """What the metadata service reads when this instance asks."""
    database = Database(f"sqlite:///{StateDirectory(root=service.state_root).database}")
    try:
        return find_metadata(database, instance["VpcId"], instance["PrivateIpAddress"])
    finally:
        database.close()


def test_an_address_is_described_tagged_filtered_and_given_back(own: Any) -> None:
    tag = {"Key": "use", "Value": unique("use")}
    made = own.allocate_address(TagSpecifications=[{"ResourceType": "elastic-ip", "Tags": [tag]}])
    assert (made["Domain"], made["NetworkBorderGroup"], made["PublicIpv4Pool"]) == ("vpc", "us-east-1", "amazon")
    by_tag = [{"Name": "tag:use", "Values": [tag["Value"]]}]
    found = own.describe_addresses(Filters=by_tag)["Addresses"]
    assert [(one["PublicIp"], one["Tags"]) for one in found] == [(made["PublicIp"], [tag])]
    assert "AssociationId" not in found[0]
    attributes = own.describe_addresses_attribute(AllocationIds=[made["AllocationId"]], Attribute="domain-name")
    assert [one["PublicIp"] for one in attributes["Addresses"]] == [made["PublicIp"]]
    own.create_tags(Resources=[made["AllocationId"]], Tags=[{"Key": "more", "Value": "1"}])
    own.release_address(AllocationId=made["AllocationId"])
    assert own.describe_addresses(Filters=by_tag)["Addresses"] == []
    assert refused(own.describe_addresses, AllocationIds=[made["AllocationId"]]) == "InvalidAllocationID.NotFound"
    assert refused(own.describe_addresses, PublicIps=[made["PublicIp"]]) == "InvalidAddress.NotFound"
    assert refused(own.release_address, AllocationId=made["AllocationId"]) == "InvalidAllocationID.NotFound"


def test_an_address_is_named_in_one_way(own: Any, pair: list[str], address: dict[str, Any]) -> None:
    other = own.allocate_address()
    both = {"AllocationId": address["AllocationId"], "PublicIp": other["PublicIp"]}
    assert refused(own.release_address, **both) == "InvalidParameterCombination"
    assert refused(own.associate_address, **both, InstanceId=pair[0]) == "InvalidParameterCombination"
    association = own.associate_address(PublicIp=other["PublicIp"], InstanceId=pair[0])["AssociationId"]
    mixed = {"AssociationId": association, "PublicIp": address["PublicIp"]}
    assert refused(own.disassociate_address, **mixed) == "InvalidParameterCombination"
    own.disassociate_address(PublicIp=other["PublicIp"])
    own.release_address(AllocationId=other["AllocationId"])
    kept = own.describe_addresses(AllocationIds=[address["AllocationId"]])["Addresses"]
    assert [one["PublicIp"] for one in kept] == [address["PublicIp"]]


def test_an_address_replaces_the_automatic_one_and_leads_to_the_guest_at_once(
    service: Service, own: Any, pair: list[str], address: dict[str, Any]
) -> None:
    before = described(own, pair[0])["PublicIpAddress"]
    assert becomes(before, wanted=True)
    elastic = address["PublicIp"]
    assert not listens(elastic)
    made = own.associate_address(AllocationId=address["AllocationId"], InstanceId=pair[0])
    again = own.associate_address(AllocationId=address["AllocationId"], InstanceId=pair[0])
    assert again["AssociationId"] == made["AssociationId"]
    instance = described(own, pair[0])
    assert instance["PublicIpAddress"] == elastic
    assert instance["PublicDnsName"] == f"ec2-{elastic.replace('.', '-')}.compute-1.amazonaws.com"
    association = instance["NetworkInterfaces"][0]["Association"]
    assert association["IpOwnerId"] == instance["NetworkInterfaces"][0]["OwnerId"]
    about = metadata_of(service, instance)
    assert (about.public_ip, about.public_dns_name) == (elastic, instance["PublicDnsName"])
    assert becomes(elastic, wanted=True)
    assert becomes(before, wanted=False)
    assert refused(own.release_address, AllocationId=address["AllocationId"]) == "InvalidIPAddress.InUse"
    own.disassociate_address(AssociationId=made["AssociationId"])
    automatic = described(own, pair[0])["PublicIpAddress"]
    assert automatic not in (elastic, before)
    assert becomes(automatic, wanted=True)
    assert becomes(elastic, wanted=False)
    gone = refused(own.disassociate_address, AssociationId=made["AssociationId"])
    assert gone == "InvalidAssociationID.NotFound"


def test_an_address_moves_from_one_instance_to_another(own: Any, pair: list[str], address: dict[str, Any]) -> None:
    allocation_id, elastic = address["AllocationId"], address["PublicIp"]
    own.associate_address(AllocationId=allocation_id, InstanceId=pair[0])
    assert becomes(elastic, wanted=True)
    second = described(own, pair[1])
    interface_id = second["NetworkInterfaces"][0]["NetworkInterfaceId"]
    there = {"AllocationId": allocation_id, "NetworkInterfaceId": interface_id}
    assert refused(own.associate_address, **there, AllowReassociation=False) == "Resource.AlreadyAssociated"
    assert refused(own.associate_address, **there, PrivateIpAddress="172.31.0.1") == "InvalidParameterValue"
    own.associate_address(**there, PrivateIpAddress=second["PrivateIpAddress"])
    assert described(own, pair[1])["PublicIpAddress"] == elastic
    first = described(own, pair[0])["PublicIpAddress"]
    assert first != elastic
    assert becomes(first, wanted=True)
    assert becomes(second["PublicIpAddress"], wanted=False)
    assert becomes(elastic, wanted=True)
    by_instance = own.describe_addresses(Filters=[{"Name": "instance-id", "Values": [pair[1]]}])["Addresses"]
    assert [one["PublicIp"] for one in by_instance] == [elastic]
    # And back, so that either of the two is the one that is told of it first.
    own.associate_address(AllocationId=allocation_id, InstanceId=pair[0])
    assert becomes(described(own, pair[1])["PublicIpAddress"], wanted=True)
    assert becomes(elastic, wanted=True)
    own.associate_address(AllocationId=allocation_id, InstanceId=pair[1])
    # One that has one already: the other stays allocated.
    other = own.allocate_address()
    own.associate_address(AllocationId=other["AllocationId"], InstanceId=pair[1])
    assert described(own, pair[1])["PublicIpAddress"] == other["PublicIp"]
    assert "AssociationId" not in own.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]
    own.disassociate_address(PublicIp=other["PublicIp"])
    own.release_address(AllocationId=other["AllocationId"])


def test_an_address_survives_stop_and_start_and_outlives_its_instance(
    own: Any, pair: list[str], address: dict[str, Any], image_id: str
) -> None:
    run = {"ImageId": image_id, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1}
    groups = [one["GroupId"] for one in described(own, pair[0])["SecurityGroups"]]
    launched = own.run_instances(**run, SecurityGroupIds=groups)["Instances"][0]
    instance_id, elastic = launched["InstanceId"], address["PublicIp"]
    own.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    own.associate_address(AllocationId=address["AllocationId"], InstanceId=instance_id)
    own.stop_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
    own.get_waiter("instance_stopped").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    assert described(own, instance_id)["PublicIpAddress"] == elastic
    assert not listens(elastic)
    own.start_instances(InstanceIds=[instance_id])
    own.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    assert described(own, instance_id)["PublicIpAddress"] == elastic
    assert becomes(elastic, wanted=True)
    own.terminate_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
    own.get_waiter("instance_terminated").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    assert not listens(elastic)
    left = own.describe_addresses(AllocationIds=[address["AllocationId"]])["Addresses"][0]
    assert "InstanceId" not in left
    gone = refused(own.associate_address, AllocationId=address["AllocationId"], InstanceId=instance_id)
    assert gone == "InvalidInstanceID"


def test_an_instance_without_a_public_address_has_none_after_its_elastic_one(
    service: Service, own: Any, pair: list[str], address: dict[str, Any], image_id: str
) -> None:
    interface = {"DeviceIndex": 0, "AssociatePublicIpAddress": False}
    run = {"ImageId": image_id, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1}
    with held(service, described(own, pair[0])["VpcId"]):
        instance_id = own.run_instances(**run, NetworkInterfaces=[interface])["Instances"][0]["InstanceId"]
        pending = refused(own.associate_address, AllocationId=address["AllocationId"], InstanceId=instance_id)
    own.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    made = own.associate_address(AllocationId=address["AllocationId"], InstanceId=instance_id)
    assert described(own, instance_id)["PublicIpAddress"] == address["PublicIp"]
    own.disassociate_address(AssociationId=made["AssociationId"])
    assert "PublicIpAddress" not in described(own, instance_id)
    own.terminate_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
    assert pending == "InvalidInstanceID"


def test_an_account_has_five_addresses_at_most(own: Any) -> None:
    allocated = [own.allocate_address() for _ in range(MAX_ADDRESSES - len(own.describe_addresses()["Addresses"]))]
    assert refused(own.allocate_address) == "AddressLimitExceeded"
    for one in allocated:
        own.release_address(AllocationId=one["AllocationId"])


def test_what_names_no_address_of_the_account_is_refused(service: Service, own: Any, other_keys: Keys) -> None:
    theirs = service.client(keys=other_keys).allocate_address()
    for call, named in (
        (own.release_address, {"PublicIp": theirs["PublicIp"]}),
        (own.disassociate_address, {"PublicIp": theirs["PublicIp"]}),
        (own.release_address, {"PublicIp": "192.0.2.1"}),
    ):
        assert refused(call, **named) == "AuthFailure"
    assert refused(own.release_address) == "MissingParameter"
    assert refused(own.disassociate_address) == "MissingParameter"
    assert refused(own.allocate_address, Domain="standard") == "InvalidParameter"
    assert refused(own.allocate_address, Address="192.0.2.1") == "InvalidParameter"
    assert refused(own.allocate_address, NetworkBorderGroup="eu-west-1") == "InvalidParameterValue"
    service.client(keys=other_keys).release_address(AllocationId=theirs["AllocationId"])
