"""Interfaces and the parts of VPCs through unmodified boto3: what is described is what is there."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import unique
from tests.api.test_nouns import refused
from tests.framework.belongings import Belongings
from tests.framework.patience import WAITS
from tests.framework.service import Service

pytestmark = pytest.mark.programs


def by(name: str, *values: str) -> dict[str, Any]:
    return {"Filters": [{"Name": name, "Values": list(values)}]}


def interface_of(ec2: Any, belongings: Belongings) -> dict[str, Any]:
    found = ec2.describe_network_interfaces(NetworkInterfaceIds=[belongings.network_interface])["NetworkInterfaces"]
    interface: dict[str, Any] = found[0]
    return interface


def test_an_interface_is_described_as_its_instance_shows_it(ec2: Any, belongings: Belongings) -> None:
    interface = interface_of(ec2, belongings)
    instance = ec2.describe_instances(InstanceIds=[belongings.instance])["Reservations"][0]["Instances"][0]
    shown = instance["NetworkInterfaces"][0]
    for name in ("MacAddress", "PrivateIpAddress", "PrivateDnsName", "SubnetId", "VpcId", "Groups", "Description"):
        assert interface[name] == shown[name], name
    assert interface["Attachment"]["AttachmentId"] == shown["Attachment"]["AttachmentId"]
    assert interface["Attachment"]["InstanceId"] == belongings.instance
    assert interface["Association"]["AllocationId"] == belongings.elastic_address
    assert interface["Association"]["AssociationId"] == belongings.address_association
    assert interface["Association"]["PublicIp"] == instance["PublicIpAddress"] == belongings.public_ip
    assert (interface["Status"], interface["AvailabilityZone"]) == ("in-use", "us-east-1a")
    assert [tag["Key"] for tag in interface["TagSet"]] == [belongings.key_pair_name]
    for name, value in (
        ("attachment.instance-id", belongings.instance),
        ("association.allocation-id", belongings.elastic_address),
        ("group-id", belongings.security_group),
        ("private-ip-address", interface["PrivateIpAddress"]),
    ):
        found = ec2.describe_network_interfaces(**by(name, value))["NetworkInterfaces"]
        assert belongings.network_interface in {one["NetworkInterfaceId"] for one in found}, name
    assert refused(ec2.describe_network_interfaces, NetworkInterfaceIds=["eni-1"]) == (
        "InvalidNetworkInterfaceId.Malformed"
    )


def test_attributes_of_an_interface_are_changed_where_that_can_be_honoured(ec2: Any, belongings: Belongings) -> None:
    one = {"NetworkInterfaceId": belongings.network_interface}
    for text in ("for the tests", ""):
        ec2.modify_network_interface_attribute(**one, Description={"Value": text})
        described = ec2.describe_network_interface_attribute(**one, Attribute="description")
        assert described["Description"].get("Value", "") == text
    default = ec2.describe_security_groups(**by("group-name", "default"))["SecurityGroups"][0]["GroupId"]
    for groups in ([default, belongings.security_group], [belongings.security_group]):
        ec2.modify_network_interface_attribute(**one, Groups=groups)
        described = ec2.describe_network_interface_attribute(**one, Attribute="groupSet")
        assert [group["GroupId"] for group in described["Groups"]] == groups
    attachment = ec2.describe_network_interface_attribute(**one, Attribute="attachment")["Attachment"]
    known = {"AttachmentId": attachment["AttachmentId"]}
    ec2.modify_network_interface_attribute(**one, Attachment={**known, "DeleteOnTermination": True})
    ec2.modify_network_interface_attribute(**one, SourceDestCheck={"Value": True})
    ec2.reset_network_interface_attribute(**one, SourceDestCheck="true")
    for cannot in ({"Attachment": {**known, "DeleteOnTermination": False}}, {"SourceDestCheck": {"Value": False}}):
        assert refused(ec2.modify_network_interface_attribute, **one, **cannot) == "UnsupportedOperation"
    assert ec2.describe_network_interface_attribute(**one, Attribute="sourceDestCheck")["SourceDestCheck"]["Value"]
    assert refused(ec2.describe_network_interface_attribute, **one) == "MissingParameter"
    assert refused(ec2.create_network_interface, SubnetId=belongings.subnet) == "UnsupportedOperation"


@pytest.fixture(scope="module")
def instance_id(service: Service, image_id: str) -> Iterator[str]:
    """A running instance in a subnet that gives no public addresses."""
    ec2 = service.client()
    subnet = ec2.describe_subnets(**by("availability-zone", "us-east-1c"))["Subnets"][0]["SubnetId"]
    ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": False})
    run = {"ImageId": image_id, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1, "SubnetId": subnet}
    instance_id = ec2.run_instances(**run)["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig=WAITS)
    yield instance_id
    ec2.terminate_instances(InstanceIds=[instance_id], SkipOsShutdown=True)
    ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})


def test_a_subnet_decides_about_public_addresses_and_an_interface_can_differ(ec2: Any, instance_id: str) -> None:
    def instance() -> Any:
        return ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]

    found = instance()
    assert "PublicIpAddress" not in found
    assert found["PublicDnsName"] == ""
    assert not ec2.describe_subnets(SubnetIds=[found["SubnetId"]])["Subnets"][0]["MapPublicIpOnLaunch"]
    interface_id = found["NetworkInterfaces"][0]["NetworkInterfaceId"]
    one = {"NetworkInterfaceId": interface_id}
    ec2.modify_network_interface_attribute(**one, AssociatePublicIpAddress=True)
    assert instance()["PublicIpAddress"].startswith("127.")
    described = ec2.describe_network_interface_attribute(**one, Attribute="associatePublicIpAddress")
    assert described["AssociatePublicIpAddress"] is True
    ec2.modify_network_interface_attribute(**one, AssociatePublicIpAddress=False)
    assert "PublicIpAddress" not in instance()


def test_a_vpc_has_the_parts_it_works_with(ec2: Any) -> None:
    vpc = ec2.describe_vpcs(**by("isDefault", "true"))["Vpcs"][0]
    of_it = by("vpc-id", vpc["VpcId"])
    gateway = ec2.describe_internet_gateways(**by("attachment.vpc-id", vpc["VpcId"]))["InternetGateways"][0]
    table = ec2.describe_route_tables(**of_it)["RouteTables"][0]
    routes = {route["DestinationCidrBlock"]: route["GatewayId"] for route in table["Routes"]}
    assert routes == {vpc["CidrBlock"]: "local", "0.0.0.0/0": gateway["InternetGatewayId"]}
    assert table["Associations"][0]["Main"] is True
    assert ec2.describe_route_tables(**by("association.main", "true"))["RouteTables"] == [table]
    acl = ec2.describe_network_acls(**by("default", "true"))["NetworkAcls"][0]
    subnets = {one["SubnetId"] for one in ec2.describe_subnets(**of_it)["Subnets"]}
    assert {one["SubnetId"] for one in acl["Associations"]} == subnets
    first = [one for one in acl["Entries"] if one["RuleNumber"] == 100]
    assert {(one["Egress"], one["RuleAction"], one["CidrBlock"]) for one in first} == {
        (True, "allow", "0.0.0.0/0"),
        (False, "allow", "0.0.0.0/0"),
    }
    options = ec2.describe_dhcp_options(DhcpOptionsIds=[vpc["DhcpOptionsId"]])["DhcpOptions"][0]
    given = {one["Key"]: [value["Value"] for value in one["Values"]] for one in options["DhcpConfigurations"]}
    assert given == {"domain-name": ["ec2.internal"], "domain-name-servers": ["AmazonProvidedDNS"]}


@pytest.mark.parametrize(
    ("operation", "parameter", "malformed", "unknown"),
    [
        ("describe_route_tables", "RouteTableIds", "InvalidRouteTableId.Malformed", "InvalidRouteTableID.NotFound"),
        (
            "describe_internet_gateways",
            "InternetGatewayIds",
            "InvalidInternetGatewayId.Malformed",
            "InvalidInternetGatewayID.NotFound",
        ),
        ("describe_network_acls", "NetworkAclIds", "InvalidNetworkAclId.Malformed", "InvalidNetworkAclID.NotFound"),
        ("describe_dhcp_options", "DhcpOptionsIds", "InvalidDhcpOptionsId.Malformed", "InvalidDhcpOptionID.NotFound"),
    ],
)
def test_parts_that_do_not_exist_are_refused_by_their_own_codes(
    ec2: Any, operation: str, parameter: str, malformed: str, unknown: str
) -> None:
    call = getattr(ec2, operation)
    reply = call()
    known = next(value for value in reply.values() if isinstance(value, list))[0]
    part_id = known[parameter.removesuffix("s")]
    assert refused(call, **{parameter: ["text"]}) == malformed
    assert refused(call, **{parameter: [f"{part_id.partition('-')[0]}-00000000000000001"]}) == unknown
    tag = {"Key": unique("key"), "Value": "v"}
    ec2.create_tags(Resources=[part_id], Tags=[tag])
    again = next(value for value in call(**{parameter: [part_id]}).values() if isinstance(value, list))[0]
    assert tag in again["Tags"]
    ec2.delete_tags(Resources=[part_id], Tags=[tag])


def test_what_no_vpc_has_is_described_as_none(ec2: Any) -> None:
    vpc_id = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    filters = [{"Name": "vpc-id", "Values": [vpc_id]}]
    assert ec2.describe_nat_gateways(Filter=filters)["NatGateways"] == []
    assert ec2.describe_vpc_endpoints(Filters=filters)["VpcEndpoints"] == []
    assert ec2.describe_egress_only_internet_gateways()["EgressOnlyInternetGateways"] == []
    assert ec2.describe_vpc_peering_connections()["VpcPeeringConnections"] == []
    assert ec2.describe_stale_security_groups(VpcId=vpc_id)["StaleSecurityGroupSet"] == []
    assert refused(ec2.describe_nat_gateways, NatGatewayIds=["nat-00000000000000001"]) == "NatGatewayNotFound"
    unknown = [{"Name": "no-such-filter", "Values": ["1"]}]
    assert refused(ec2.describe_nat_gateways, Filter=unknown) == "InvalidParameterValue"


def test_attributes_of_vpcs_and_subnets_that_cannot_be_honoured_are_refused(ec2: Any, belongings: Belongings) -> None:
    vpc, subnet = {"VpcId": belongings.vpc}, {"SubnetId": belongings.subnet}
    ec2.modify_vpc_attribute(**vpc, EnableDnsHostnames={"Value": True})
    ec2.modify_subnet_attribute(**subnet, AssignIpv6AddressOnCreation={"Value": False})
    assert refused(ec2.modify_vpc_attribute, **vpc, EnableDnsSupport={"Value": False}) == "InvalidParameter"
    assert refused(ec2.modify_subnet_attribute, **subnet, EnableDns64={"Value": True}) == "InvalidParameter"
