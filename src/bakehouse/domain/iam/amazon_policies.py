"""Amazon's managed policies that clients attach by their ARN: those whose meaning is clear here.

Written for the services that exist here. Any other ARN of Amazon's is NoSuchEntity, so that nobody believes to have
given or taken a right that nothing here knows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_PREFIX = "arn:aws:iam::aws:policy"
# When this service's version of them was written.
_WRITTEN_AT = datetime(2026, 11, 28, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class AmazonPolicy:
    """One of them; it has one version."""

    name: str
    description: str
    document: str
    path: str = "/"
    created_at: datetime = _WRITTEN_AT

    @property
    def arn(self) -> str:
        """Its ARN."""
        return f"{_PREFIX}{self.path}{self.name}"

    @property
    def policy_id(self) -> str:
        """A unique id, of IAM's form and the same everywhere."""
        letters = "".join(one for one in self.name.upper() if one.isalpha())
        return ("ANPA" + letters + "A" * 21)[:21]


def _allow(*actions: str, resource: str = "*") -> dict[str, object]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}


def _policy(name: str, description: str, statements: Sequence[Mapping[str, object]]) -> AmazonPolicy:
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    return AmazonPolicy(name=name, description=description, document=document)


_READS = ("Describe*", "Get*", "List*")

_ALL = (
    _policy("AdministratorAccess", "Everything.", [_allow("*")]),
    _policy(
        "PowerUserAccess",
        "Everything but users, roles and their policies.",
        [
            {"Effect": "Allow", "NotAction": ["iam:*", "organizations:*", "account:*"], "Resource": "*"},
            _allow("iam:ListRoles", "organizations:DescribeOrganization", "account:ListRegions"),
        ],
    ),
    _policy(
        "ReadOnlyAccess",
        "To look at everything and change nothing.",
        [
            _allow(
                *(f"{service}:{verb}" for service in ("ec2", "imagebuilder", "rbin", "dlm") for verb in _READS),
                *(f"{service}:{verb}" for service in ("iam", "ssm") for verb in _READS),
                "ebs:ListChangedBlocks",
                "ebs:ListSnapshotBlocks",
                "sts:GetCallerIdentity",
            )
        ],
    ),
    _policy("AmazonEC2FullAccess", "Everything in EC2.", [_allow("ec2:*")]),
    _policy(
        "AmazonEC2ReadOnlyAccess",
        "To look at everything in EC2.",
        [_allow("ec2:Describe*", "ec2:GetSecurityGroupsForVpc", "ec2:GetAllowedImagesSettings")],
    ),
    _policy("IAMFullAccess", "Everything in IAM.", [_allow("iam:*")]),
    _policy("IAMReadOnlyAccess", "To look at everything in IAM.", [_allow("iam:Get*", "iam:List*")]),
    _policy("AmazonSSMFullAccess", "Everything in Systems Manager.", [_allow("ssm:*")]),
    _policy(
        "AmazonSSMReadOnlyAccess",
        "To look at everything in Systems Manager.",
        [_allow("ssm:Describe*", "ssm:Get*", "ssm:List*")],
    ),
    _policy(
        "AmazonSSMManagedInstanceCore",
        "What an instance needs to be managed by Systems Manager.",
        [
            _allow(
                "ssm:DescribeAssociation",
                "ssm:DescribeDocument",
                "ssm:GetDeployablePatchSnapshotForInstance",
                "ssm:GetDocument",
                "ssm:GetManifest",
                "ssm:GetParameter",
                "ssm:GetParameters",
                "ssm:ListAssociations",
                "ssm:ListInstanceAssociations",
                "ssm:PutComplianceItems",
                "ssm:PutConfigurePackageResult",
                "ssm:PutInventory",
                "ssm:UpdateAssociationStatus",
                "ssm:UpdateInstanceAssociationStatus",
                "ssm:UpdateInstanceInformation",
            ),
            _allow("ssmmessages:*"),
            _allow("ec2messages:*"),
        ],
    ),
    _policy(
        "EC2InstanceProfileForImageBuilder",
        "What an instance needs to be built upon by Image Builder.",
        [_allow("imagebuilder:GetComponent")],
    ),
)

BY_ARN: Mapping[str, AmazonPolicy] = {policy.arn: policy for policy in _ALL}
