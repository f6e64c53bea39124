"""What the metadata service tells an instance about itself, as a tree of names.

Invariant: a tree is built from one instance's ``InstanceMetadata`` and holds nothing else.
Source: EC2 User Guide, "Instance metadata categories".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

# A leaf is text; a directory maps names to nodes.
Node = str | Mapping[str, "Node"]

# Real version names that SDKs and cloud-init ask for; the tree is the same for all of them.
VERSIONS = (
    *(
        "1.0",
        "2007-01-19",
        "2007-03-01",
        "2007-08-29",
        "2007-10-10",
        "2007-12-15",
        "2008-02-01",
        "2008-09-01",
    ),
    *("2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20"),
    *("2016-04-19", "2016-06-30", "2016-09-02", "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01"),
    *("2020-08-24", "2020-10-27", "2021-01-03", "2021-03-23", "2021-07-15", "2022-07-09", "2022-09-24"),
    *("2023-02-07", "2023-05-17", "2024-04-11"),
)


@dataclass(frozen=True, kw_only=True)
class GroupName:
    """A security group as the metadata service names it."""

    group_id: str
    group_name: str


@dataclass(frozen=True, kw_only=True)
class RoleCredentials:
    """An instance's keys as its role, good until ``expires_at``."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    made_at: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class ProfileMetadata:
    """An instance's profile; without ``role_name`` it hands out nothing (any more).

    ``credentials`` are filled in for the one question that asks for them; None says that the role does not trust EC2.
    """

    arn: str
    profile_id: str
    associated_at: datetime
    role_name: str | None
    credentials: RoleCredentials | None = None


@dataclass(frozen=True, kw_only=True)
class InstanceMetadata:
    """All that one instance may learn about itself.

    ``block_devices`` maps virtual names (ami, root, ebs1 ...) to devices, root being a path (/dev/sda1) and
    the others bare names. ``public_key`` is one OpenSSH line. ``tags`` are shown only when
    ``shows_tags``. ``user_data`` is raw bytes, never decoded.
    """

    instance_id: str
    account_id: str
    image_id: str
    instance_type: str
    reservation_id: str
    launched_at: datetime
    region: str
    availability_zone: str
    availability_zone_id: str
    architecture: str
    vpc_id: str
    vpc_cidr: str
    subnet_id: str
    subnet_cidr: str
    interface_id: str
    mac: str
    private_ip: str
    private_dns_name: str
    public_ip: str | None
    public_dns_name: str | None
    groups: tuple[GroupName, ...]
    key_name: str | None
    public_key: str | None
    user_data: bytes | None
    block_devices: Mapping[str, str]
    profile: ProfileMetadata | None = None
    launch_index: int = 0
    product_codes: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    shows_tags: bool = False
    # ModifyInstanceMetadataOptions: HttpEndpoint, HttpTokens, HttpPutResponseHopLimit.
    is_enabled: bool = True
    requires_token: bool = False
    hop_limit: int = 1


def metadata_tree(about: InstanceMetadata) -> dict[str, Node]:
    """Everything below one version: ``meta-data`` and ``dynamic`` (user data is bytes, served apart)."""
    return {
        "dynamic": {"instance-identity": {"document": _identity_document(about)}},
        "meta-data": _meta_data(about),
    }


def find(tree: Node, path: list[str]) -> Node | None:
    """Walk down; None when a name on the way does not exist."""
    for name in path:
        if isinstance(tree, str) or name not in tree:
            return None
        tree = tree[name]
    return tree


def listing(directory: Mapping[str, Node], path: list[str]) -> str:
    """A directory as the service lists it, one name a line; keys appear as ``0=name``."""
    if path[-1:] == ["public-keys"]:
        return "\n".join(f"{index}={_key_name(node)}" for index, node in directory.items())
    return "\n".join(name if isinstance(node, str) else f"{name}/" for name, node in directory.items())


class _PublicKey(dict[str, Node]):
    """A key's directory, which knows the key's name for the listing above it."""

    key_name: str = ""


def _key_name(node: Node) -> str:
    return node.key_name if isinstance(node, _PublicKey) else ""


def _meta_data(about: InstanceMetadata) -> dict[str, Node]:
    tree: dict[str, Node] = {
        "ami-id": about.image_id,
        "ami-launch-index": str(about.launch_index),
        "ami-manifest-path": "(unknown)",
        "block-device-mapping": dict(about.block_devices),
        "hostname": about.private_dns_name,
        **({"iam": _iam(about.profile)} if about.profile is not None else {}),
        "instance-action": "none",
        "instance-id": about.instance_id,
        "instance-life-cycle": "on-demand",
        "instance-type": about.instance_type,
        "local-hostname": about.private_dns_name,
        "local-ipv4": about.private_ip,
        "mac": about.mac,
        "network": {"interfaces": {"macs": {about.mac: _interface(about)}}},
        "placement": {
            "availability-zone": about.availability_zone,
            "availability-zone-id": about.availability_zone_id,
            "region": about.region,
        },
        "profile": "default-hvm",
    }
    if about.product_codes:
        tree["product-codes"] = "\n".join(about.product_codes)
    if about.public_ip is not None:
        tree["public-hostname"] = about.public_dns_name or ""
        tree["public-ipv4"] = about.public_ip
    if about.public_key is not None:
        key = _PublicKey({"openssh-key": about.public_key.strip() + "\n"})
        key.key_name = about.key_name or ""
        tree["public-keys"] = {"0": key}
    tree["reservation-id"] = about.reservation_id
    tree["security-groups"] = "\n".join(group.group_name for group in about.groups)
    tree["services"] = {"domain": "amazonaws.com", "partition": "aws"}
    if about.shows_tags:
        tree["tags"] = {"instance": dict(about.tags)}
    return tree


def _iam(profile: ProfileMetadata) -> dict[str, Node]:
    if profile.role_name is None:
        info = {"Code": "InstanceProfileNotFound", "Message": "The instance profile has no role."}
        return {"info": _document({**info, "LastUpdated": _moment(profile.associated_at)})}
    info = {
        "Code": "Success",
        "LastUpdated": _moment(profile.associated_at),
        "InstanceProfileArn": profile.arn,
        "InstanceProfileId": profile.profile_id,
    }
    return {"info": _document(info), "security-credentials": {profile.role_name: _credentials(profile)}}


def _credentials(profile: ProfileMetadata) -> str:
    found = profile.credentials
    if found is None:
        return _document(
            {
                "Code": "AssumeRoleUnauthorizedAccess",
                "Message": f"EC2 cannot assume the role {profile.role_name}.",
                "LastUpdated": _moment(profile.associated_at),
            }
        )
    return _document(
        {
            "Code": "Success",
            "LastUpdated": _moment(found.made_at),
            "Type": "AWS-HMAC",
            "AccessKeyId": found.access_key_id,
            "SecretAccessKey": found.secret_access_key,
            "Token": found.session_token,
            "Expiration": _moment(found.expires_at),
        }
    )


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _document(members: Mapping[str, object]) -> str:
    return json.dumps(members, indent=2)


def _interface(about: InstanceMetadata) -> dict[str, Node]:
    tree: dict[str, Node] = {
        "device-number": "0",
        "interface-id": about.interface_id,
        "local-hostname": about.private_dns_name,
        "local-ipv4s": about.private_ip,
        "mac": about.mac,
        "owner-id": about.account_id,
        "security-group-ids": "\n".join(group.group_id for group in about.groups),
        "security-groups": "\n".join(group.group_name for group in about.groups),
        "subnet-id": about.subnet_id,
        "subnet-ipv4-cidr-block": about.subnet_cidr,
        "vpc-id": about.vpc_id,
        "vpc-ipv4-cidr-block": about.vpc_cidr,
        "vpc-ipv4-cidr-blocks": about.vpc_cidr,
    }
    if about.public_ip is not None:
        tree["ipv4-associations"] = {about.public_ip: about.private_ip}
        tree["public-hostname"] = about.public_dns_name or ""
        tree["public-ipv4s"] = about.public_ip
    return tree


def _identity_document(about: InstanceMetadata) -> str:
    """The identity document; its signatures are Amazon's to make and are not offered."""
    document = {
        "accountId": about.account_id,
        "architecture": about.architecture,
        "availabilityZone": about.availability_zone,
        "billingProducts": None,
        "devpayProductCodes": None,
        "marketplaceProductCodes": list(about.product_codes) or None,
        "imageId": about.image_id,
        "instanceId": about.instance_id,
        "instanceType": about.instance_type,
        "kernelId": None,
        "pendingTime": _moment(about.launched_at),
        "privateIp": about.private_ip,
        "ramdiskId": None,
        "region": about.region,
        "version": "2017-09-30",
    }
    return _document(document)
