"""Where each error code is documented: a code that stands in no list here is nobody's, and a test fails.

Sources, in this order: EC2's own page of codes; the error shapes of botocore's models of the other services; the
"Common Errors" pages; what EC2 is seen to answer although its page does not say so, each with where it was seen.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bakehouse.api.models import service_model

SOURCE = Path(__file__).parents[2] / "src/bakehouse"
# Codes are chosen there from tables, which are looked at by themselves.
TRANSLATES = "api/protocol/codes.py"

# Services whose models are looked at: those served, and those whose words the protocols' tables already have.
_SERVICES = ("ebs", "iam", "imagebuilder", "rbin", "ssm", "sts")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


EC2_PAGE = "Amazon EC2 Developer Guide, Error codes for the Amazon EC2 API"
# What of that page this service has a use for.
ON_EC2_PAGE = _words(
    """
    AuthFailure DryRunOperation IdempotentParameterMismatch IncompleteSignature InvalidAction InvalidCharacter
    InvalidClientTokenId InvalidPaginationToken InvalidParameter InvalidParameterCombination
    InvalidParameterDependency InvalidParameterValue InvalidQueryParameter MalformedQueryString MissingAction
    MissingAuthenticationToken MissingParameter NoSuchVersion OptInRequired RequestExpired SignatureDoesNotMatch
    UnauthorizedOperation UnknownParameter UnsupportedInstanceAttribute UnsupportedOperation ValidationError

    AddressLimitExceeded AttachmentLimitExceeded CannotDelete ConcurrentSnapshotLimitExceeded
    DefaultVpcAlreadyExists DefaultVpcDoesNotExist DependencyViolation FilterLimitExceeded Gateway.NotAttached
    IdempotentInstanceTerminated IncorrectInstanceState IncorrectModificationState IncorrectState
    InstanceCreditSpecification.NotSupported InstanceLimitExceeded InsufficientFreeAddressesInSubnet
    InvalidAMIAttributeItemValue InvalidAMIID.Malformed InvalidAMIID.NotFound InvalidAMIID.Unavailable
    InvalidAMIName.Duplicate InvalidAMIName.Malformed InvalidAddress.Malformed InvalidAddress.NotFound
    InvalidAddressID.NotFound InvalidAllocationID.NotFound InvalidAssociationID.NotFound
    InvalidAttachment.NotFound InvalidAttachmentID.NotFound InvalidAvailabilityZone InvalidBlockDeviceMapping
    InvalidClientToken InvalidDhcpOptionID.NotFound InvalidDhcpOptionsID.NotFound InvalidDhcpOptionsId.Malformed
    InvalidFilter InvalidGroup.Duplicate InvalidGroup.InUse InvalidGroup.NotFound InvalidGroup.Reserved
    InvalidGroupId.Malformed InvalidID InvalidIPAddress.InUse InvalidIamInstanceProfileArn.Malformed
    InvalidInput InvalidInstanceAttributeValue InvalidInstanceID InvalidInstanceID.Malformed
    InvalidInstanceID.NotFound InvalidInstanceState InvalidInstanceType InvalidInternetGatewayID.NotFound
    InvalidInternetGatewayId.Malformed InvalidKey.Format InvalidKeyPair.Duplicate InvalidKeyPair.Format
    InvalidKeyPair.NotFound InvalidLaunchTemplateId.Malformed InvalidLaunchTemplateId.NotFound
    InvalidLaunchTemplateId.VersionNotFound InvalidLaunchTemplateName.AlreadyExistsException
    InvalidLaunchTemplateName.MalformedException InvalidLaunchTemplateName.NotFoundException InvalidMaxResults
    InvalidNetworkAclID.NotFound InvalidNetworkAclId.Malformed InvalidNetworkInterface.InUse
    InvalidNetworkInterface.NotFound InvalidNetworkInterfaceAttachmentId.Malformed
    InvalidNetworkInterfaceID.NotFound InvalidNetworkInterfaceId.Malformed InvalidNextToken
    InvalidPermission.Duplicate InvalidPermission.Malformed InvalidPermission.NotFound InvalidProductInfo InvalidRegion
    InvalidRequest InvalidReservationID.Malformed InvalidReservationID.NotFound InvalidRouteTableID.NotFound
    InvalidRouteTableId.Malformed InvalidSecurityGroupID.NotFound InvalidSecurityGroupId.Malformed
    InvalidSecurityGroupRuleId.Malformed InvalidSecurityGroupRuleId.NotFound InvalidSnapshot.InUse
    InvalidSnapshot.NotFound InvalidSnapshotID.Malformed InvalidState InvalidSubnet.Conflict InvalidSubnet.Range
    InvalidSubnetID.Malformed InvalidSubnetID.NotFound InvalidTagKey.Malformed InvalidTime
    InvalidUserID.Malformed InvalidVolume.NotFound InvalidVolume.ZoneMismatch InvalidVolumeID.Duplicate
    InvalidVolumeID.Malformed InvalidVolumeID.ZoneMismatch InvalidVpcID.Malformed InvalidVpcID.NotFound
    InvalidVpcRange InvalidZone.NotFound KeyPairLimitExceeded MaxTemplateLimitExceeded
    MaxTemplateVersionLimitExceeded MissingInput NetworkInterfaceLimitExceeded OperationNotPermitted
    PendingSnapshotLimitExceeded PrivateIpAddressLimitExceeded Resource.AlreadyAssigned
    Resource.AlreadyAssociated ResourceCountExceeded ResourceLimitExceeded RulesPerSecurityGroupLimitExceeded
    SecurityGroupLimitExceeded SecurityGroupsPerInstanceLimitExceeded SecurityGroupsPerInterfaceLimitExceeded
    SnapshotCreationPerVolumeRateExceeded SnapshotLimitExceeded SubnetLimitExceeded TagLimitExceeded
    UnknownVolumeType Unsupported VPCIdNotSpecified VcpuLimitExceeded VolumeInUse VolumeLimitExceeded
    VolumeTypeNotAvailableInZone VpcLimitExceeded

    InsufficientAddressCapacity InsufficientInstanceCapacity InsufficientVolumeCapacity InternalError
    InternalFailure RequestLimitExceeded ServiceUnavailable Unavailable
    """
)
COMMON_ERRORS = "API References of IAM, STS and Systems Manager, Common Errors; Smithy, AWS JSON protocols"
ON_COMMON_PAGES = _words(
    """
    AccessDenied AccessDeniedException ExpiredToken ExpiredTokenException IncompleteSignatureException
    InvalidSignatureException MissingAuthenticationTokenException RequestEntityTooLarge
    RequestEntityTooLargeException RequestTimeout RequestTimeoutException SerializationException
    ServiceUnavailableException UnknownOperationException UnrecognizedClientException
    UnsupportedOperationException ValidationException
    """
)
# Code -> where it was seen.
SEEN: dict[str, str] = {
    # No page of AWS's names the two; they are formed as the codes of every other kind of id.
    "InvalidReplaceRootVolumeTaskId.Malformed": "by analogy",
    "InvalidReplaceRootVolumeTaskId.NotFound": "by analogy",
    "InvalidGatewayID.NotFound": "terraform-provider-aws takes it for an egress-only internet gateway that is gone",
    "InvalidUserData.Malformed": "terraform-provider-aws and Karpenter handle it when RunInstances is given user data",
    "InvalidVolumeModification.NotFound": "the EBS CSI driver takes it for a volume that was never modified",
    "InvalidVpcEndpointId.NotFound": "terraform-provider-aws takes it for an endpoint that is gone",
    "InvalidVpcPeeringConnectionID.NotFound": "terraform-provider-aws takes it for a peering connection that is gone",
    "NatGatewayNotFound": "terraform-provider-aws takes it for a NAT gateway that is gone",
}


@dataclass(frozen=True, kw_only=True)
class Raised:
    """One place that makes an ApiError; ``code`` is None where it is not written out."""

    path: str
    line: int
    code: str | None

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.code}"


def raised_codes() -> Iterator[Raised]:
    """Every ApiError that is made anywhere, found in the source."""
    for path in sorted(SOURCE.rglob("*.py")):
        name = str(path.relative_to(SOURCE))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _is_api_error(node.func):
                yield from (Raised(path=name, line=node.lineno, code=code) for code in _codes_of(node))


def _is_api_error(function: ast.expr) -> bool:
    return getattr(function, "id", getattr(function, "attr", None)) == "ApiError"


def _codes_of(call: ast.Call) -> list[str | None]:
    given = call.args[0] if call.args else next((each.value for each in call.keywords if each.arg == "code"), None)
    ways = [given.body, given.orelse] if isinstance(given, ast.IfExp) else [given]
    return [way.value if isinstance(way, ast.Constant) and isinstance(way.value, str) else None for way in ways]


@cache
def source_of(code: str) -> str | None:
    """Where the code is documented; None when nowhere."""
    if code in ON_EC2_PAGE:
        return EC2_PAGE
    for service in _SERVICES:
        if code in _codes_in_model(service):
            return f"botocore's model of {service}"
    return COMMON_ERRORS if code in ON_COMMON_PAGES else SEEN.get(code)


def _codes_in_model(service: str) -> set[str]:
    model = service_model(service)
    shapes = [model.shape_for(name) for name in model.shape_names]
    return {
        str(shape.error_code) for shape in shapes if shape.type_name == "structure" and shape.metadata.get("exception")
    }
