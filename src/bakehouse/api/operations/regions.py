"""DescribeRegions, DescribeAvailabilityZones, DescribeAccountAttributes."""

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.registry import operation
from bakehouse.domain import elastic_addresses, vpcs


@operation(
    "ec2",
    "DescribeRegions",
    mutates=False,
    honours=("AllRegions", "RegionNames"),
    filters=FilterTable(
        item="Regions[]",
        paths={"endpoint": "Endpoint", "opt-in-status": "OptInStatus", "region-name": "RegionName"},
    ),
)
def describe_regions(context: RequestContext, request: Parameters) -> Reply:
    """The regions this service is; all of them answer at its one endpoint, and none has to be enabled."""
    settings = context.host.settings
    for name in request.get("RegionNames", ()):
        if name not in settings.regions:
            raise errors.invalid_parameter_value(f"Invalid region provided: {name[:64]}")
    endpoint = f"{settings.listen_host}:{settings.listen_port}"
    wanted = request.get("RegionNames") or settings.regions
    return {
        "Regions": [
            {"Endpoint": endpoint, "OptInStatus": "opt-in-not-required", "RegionName": name}
            for name in settings.regions
            if name in wanted
        ]
    }


@operation(
    "ec2",
    "DescribeAvailabilityZones",
    mutates=False,
    honours=("AllAvailabilityZones", "ZoneIds", "ZoneNames"),
    filters=FilterTable(
        item="AvailabilityZones[]",
        paths={
            "group-long-name": "GroupLongName",
            "group-name": "GroupName",
            "message": "Messages[].Message",
            "opt-in-status": "OptInStatus",
            "parent-zone-id": "ParentZoneId",
            "parent-zone-name": "ParentZoneName",
            "region-name": "RegionName",
            "state": "State",
            "zone-id": "ZoneId",
            "zone-name": "ZoneName",
            "zone-type": "ZoneType",
        },
    ),
)
def describe_availability_zones(context: RequestContext, request: Parameters) -> Reply:
    """The zones; they share this host."""
    names = vpcs.zone_names(context.region)
    ids = {vpcs.zone_id(name): name for name in names}
    for name in request.get("ZoneNames", ()):
        if name not in names:
            raise errors.invalid_parameter_value(f"Invalid availability zone: [{name[:64]}]")
    for zone_id in request.get("ZoneIds", ()):
        if zone_id not in ids:
            raise errors.invalid_parameter_value(f"Invalid availability zone-id: [{zone_id[:64]}]")
    wanted = {*request.get("ZoneNames", ()), *(ids[zone_id] for zone_id in request.get("ZoneIds", ()))} or set(names)
    return {
        "AvailabilityZones": [
            {
                "GroupName": context.region,
                "Messages": [],
                "NetworkBorderGroup": context.region,
                "OptInStatus": "opt-in-not-required",
                "RegionName": context.region,
                "State": "available",
                "ZoneId": vpcs.zone_id(name),
                "ZoneName": name,
                "ZoneType": "availability-zone",
            }
            for name in names
            if name in wanted
        ]
    }


# What EC2 answers besides, and nothing here limits.
_UNLIMITED = ("max-instances", "vpc-max-security-groups-per-interface")


@operation(
    "ec2",
    "DescribeAccountAttributes",
    mutates=False,
    honours=("AttributeNames",),
    # The model has two of the names only.
    own_codes=("AttributeNames[]",),
)
def describe_account_attributes(context: RequestContext, request: Parameters) -> Reply:
    """What the account has."""
    default = vpcs.default_vpc(context.session, context.account_id).vpc_id
    most = str(elastic_addresses.MAX_ADDRESSES)
    values = {
        "default-vpc": default,
        "max-elastic-ips": most,
        "supported-platforms": "VPC",
        "vpc-max-elastic-ips": most,
    }
    wanted = request.get("AttributeNames") or list(values)
    for name in wanted:
        if name not in values and name not in _UNLIMITED:
            raise errors.invalid_value_for("AttributeName", name[:64])
    return {
        "AccountAttributes": [
            {"AttributeName": name, "AttributeValues": [{"AttributeValue": value}]}
            for name, value in values.items()
            if name in wanted
        ]
    }
