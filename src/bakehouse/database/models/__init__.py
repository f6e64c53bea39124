"""Every table, in EC2's nouns, one file for each family.

Columns hold facts; what a client sees is derived in api/operations.

Invariant: rows change only inside the one transaction of a request or of a workflow step.
Times are timezone-aware UTC. Sizes carry their unit in the name.
"""

from bakehouse.database.models.accounts import AccessKey, Account, ClientToken, OrganizationMembership, ServiceSecret
from bakehouse.database.models.addresses import ElasticAddress, RestingAddress
from bakehouse.database.models.base import Regional, Row, UtcDateTime, now
from bakehouse.database.models.identities import (
    IamRole,
    IamUser,
    IdentityTag,
    InlinePolicy,
    InstanceProfile,
    KeySession,
    ManagedPolicy,
    ManagedPolicyVersion,
    PolicyAttachment,
)
from bakehouse.database.models.images import Image, ImageSnapshot, LaunchPermission, snapshot_ids_in
from bakehouse.database.models.instances import Instance
from bakehouse.database.models.key_pairs import KeyPair
from bakehouse.database.models.launch_templates import LaunchTemplate, LaunchTemplateVersion
from bakehouse.database.models.networks import (
    InterfaceGroup,
    NetworkInterface,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Vpc,
)
from bakehouse.database.models.parameters import Parameter, ParameterVersion
from bakehouse.database.models.recycle_bin import BinEntry, RetentionRule
from bakehouse.database.models.settings import RegionSetting
from bakehouse.database.models.storage import CreateVolumePermission, Snapshot, Volume
from bakehouse.database.models.tags import Tag
from bakehouse.database.models.volume_changes import ReplaceRootVolumeTask, VolumeModification

__all__ = [
    "AccessKey",
    "Account",
    "BinEntry",
    "ClientToken",
    "CreateVolumePermission",
    "ElasticAddress",
    "IamRole",
    "IamUser",
    "IdentityTag",
    "Image",
    "ImageSnapshot",
    "InlinePolicy",
    "Instance",
    "InstanceProfile",
    "InterfaceGroup",
    "KeyPair",
    "KeySession",
    "LaunchPermission",
    "LaunchTemplate",
    "LaunchTemplateVersion",
    "ManagedPolicy",
    "ManagedPolicyVersion",
    "NetworkInterface",
    "OrganizationMembership",
    "Parameter",
    "ParameterVersion",
    "PolicyAttachment",
    "RegionSetting",
    "Regional",
    "ReplaceRootVolumeTask",
    "RestingAddress",
    "RetentionRule",
    "Row",
    "SecurityGroup",
    "SecurityGroupRule",
    "ServiceSecret",
    "Snapshot",
    "Subnet",
    "Tag",
    "UtcDateTime",
    "Volume",
    "VolumeModification",
    "Vpc",
    "now",
    "snapshot_ids_in",
]
