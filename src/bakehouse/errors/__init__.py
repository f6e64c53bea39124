"""The errors.

    Exception
      ApiError            a reply to a client: EC2 code, message, HTTP status; raised by api and domain only
      PartError           a part could not do its work (a command failed, QMP refused, a block is missing)
        CommandFailed     host.run: a program exited non-zero or timed out
        StorageError, MachineError, NetworkError, GuestError   one family per part, defined there

Invariant: parts never raise ApiError, and only the gateway turns an ApiError into a reply.

One function below makes one of EC2's errors: ``raise errors.image_not_found(image_id)``. Unless a
docstring says otherwise the code is documented in the EC2 Developer Guide, "Error codes for the Amazon EC2
API", with status 400; the wording follows what EC2 is seen to answer, so that clients that match on
messages keep working.
"""

from collections.abc import Mapping


class ApiError(Exception):
    """An error a client is told about. ``message`` never holds a secret.

    ``members`` are what the error's shape has besides the message (``Reason`` of rbin's); the query protocols
    have no room for them.
    """

    def __init__(self, code: str, message: str, *, status: int = 400, members: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members = members or {}


class PartError(Exception):
    """A part could not do its work; the caller decides what that means for a record."""


# --- requests: authentication and authorization -------------------------------------------------------------


def auth_failure(message: str = "AWS was not able to validate the provided access credentials") -> ApiError:
    """Unknown key, wrong signature, skewed clock; 401 as seen in terraform-provider-aws issue 1102."""
    return ApiError("AuthFailure", message, status=401)


def not_yours(message: str) -> ApiError:
    """The resource exists but is another account's (EC2 says AuthFailure, with status 400, for these)."""
    return ApiError("AuthFailure", message)


def missing_credentials_ec2() -> ApiError:
    """An unsigned request. EC2 answers the oldest of its words to this day."""
    return ApiError("MissingParameter", "The request must contain the parameter AWSAccessKeyId")


def missing_authentication_token() -> ApiError:
    """An unsigned request to any other service. Source: STS API Reference, Common Errors (403)."""
    return ApiError("MissingAuthenticationToken", "Request is missing Authentication Token", status=403)


def invalid_client_token_id() -> ApiError:
    """An unknown access key, for services other than EC2. Source: STS API Reference, Common Errors (403)."""
    message = "The security token included in the request is invalid."
    return ApiError("InvalidClientTokenId", message, status=403)


def signature_does_not_match(message: str | None = None) -> ApiError:
    """A wrong or stale signature, for services other than EC2. Source: IAM User Guide, SigV4
    troubleshooting.
    """
    standard = (
        "The request signature we calculated does not match the signature you provided. Check your AWS "
        "Secret Access Key and signing method. Consult the service documentation for details."
    )
    return ApiError("SignatureDoesNotMatch", message or standard, status=403)


def incomplete_signature(message: str) -> ApiError:
    """The Authorization header or presigned query has not the form SigV4 asks for."""
    return ApiError("IncompleteSignature", message)


def request_expired() -> ApiError:
    """More than 15 minutes after its date stamp, or after the expiry of a presigned request."""
    return ApiError("RequestExpired", "Request has expired.")


def unauthorized_operation(message: str) -> ApiError:
    """No policy allows it; 403 as EC2 answers."""
    return ApiError("UnauthorizedOperation", message, status=403)


# --- requests: form -----------------------------------------------------------------------------------------


def missing_action() -> ApiError:
    """No Action parameter."""
    return ApiError("MissingAction", "The request is missing the parameter Action.")


def invalid_action(action: str, version: str | None) -> ApiError:
    """No such operation in this API version."""
    return ApiError("InvalidAction", f"The action {action} is not valid for this web service, version {version}.")


def unsupported_operation(message: str) -> ApiError:
    """The operation exists but this service, or this resource, does not do it."""
    return ApiError("UnsupportedOperation", message)


def malformed_query_string(message: str) -> ApiError:
    """The body or query string is not a well-formed set of parameters (EC2 documents 400, others 404)."""
    return ApiError("MalformedQueryString", message)


def serialization_exception(message: str) -> ApiError:
    """A body that is not the JSON document the operation takes. Source: seen from services that speak JSON."""
    return ApiError("SerializationException", message)


def unknown_route() -> ApiError:
    """No operation has this method and path (404, as services with paths answer)."""
    return ApiError("UnknownOperationException", "No operation has this method and path.", status=404)


def missing_parameter(name: str) -> ApiError:
    """A required parameter is absent (or empty)."""
    return ApiError("MissingParameter", f"The request must contain the parameter {name}")


def unknown_parameter(name: str) -> ApiError:
    """A parameter the model does not have."""
    return ApiError("UnknownParameter", f"The parameter {name} is not recognized")


def unsupported_parameter(name: str) -> ApiError:
    """A parameter the model has and this service does not honour ("not valid, is unsupported, or cannot be
    used").
    """
    return ApiError("InvalidParameter", f"The parameter {name} is not supported by this service")


def invalid_parameter_value(message: str) -> ApiError:
    """A value that is wrong in itself; say which parameter."""
    return ApiError("InvalidParameterValue", message)


def invalid_value_for(name: str, value: object, reason: str = "") -> ApiError:
    """InvalidParameterValue in EC2's usual words."""
    message = f"Value ({value}) for parameter {name} is invalid. {reason}".rstrip()
    return ApiError("InvalidParameterValue", message)


def no_root_volume(instance_id: str, root_device_name: str) -> ApiError:
    """An instance whose root volume was detached. Source: VM Import/Export User Guide, troubleshooting."""
    reason = f"Instance does not have a volume attached at root ({root_device_name})"
    return ApiError("InvalidParameterValue", f"Invalid value '{instance_id}' for instanceId. {reason}")


def invalid_character(name: str) -> ApiError:
    """A character that no reply could carry, such as NUL."""
    return ApiError("InvalidCharacter", f"The parameter {name} has a character that is not valid")


def filter_limit_exceeded() -> ApiError:
    """More than 200 filter values, or one longer than 255 characters."""
    message = "A request can have at most 200 filter values, each of at most 255 characters."
    return ApiError("FilterLimitExceeded", message)


def invalid_parameter_combination(message: str) -> ApiError:
    """Parameters that exclude each other."""
    return ApiError("InvalidParameterCombination", message)


def idempotent_parameter_mismatch() -> ApiError:
    """A client token used again with other parameters."""
    message = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."
    return ApiError("IdempotentParameterMismatch", message)


def idempotent_instance_terminated() -> ApiError:
    """A launch repeated under its client token when everything it launched has ended."""
    message = "The instances that the request with this client token launched are terminated."
    return ApiError("IdempotentInstanceTerminated", message)


def invalid_pagination_token() -> ApiError:
    """A NextToken that this service did not make for this request."""
    return ApiError("InvalidPaginationToken", "The specified pagination token is not valid or is expired.")


def dry_run_operation() -> ApiError:
    """The request would have succeeded; 412 as EC2 answers."""
    message = "Request would have succeeded, but DryRun flag is set."
    return ApiError("DryRunOperation", message, status=412)


def request_entity_too_large(limit_bytes: int) -> ApiError:
    """The body is larger than the gateway reads. Source: AWS Common Errors, RequestEntityTooLargeException
    (413).
    """
    return ApiError("RequestEntityTooLarge", f"The request is larger than {limit_bytes} bytes", status=413)


def request_timeout() -> ApiError:
    """The body did not arrive in time (408, which clients retry)."""
    return ApiError("RequestTimeout", "The request did not arrive in time", status=408)


def internal_error() -> ApiError:
    """A bug of ours, or something the operation could not foresee; the log has it under the request id."""
    return ApiError("InternalError", "An internal error has occurred", status=500)


def service_unavailable(message: str) -> ApiError:
    """The service is shutting down or overloaded; 503, which clients retry."""
    return ApiError("Unavailable", message, status=503)


# --- limits and states --------------------------------------------------------------------------------------


def incorrect_state(message: str) -> ApiError:
    """The resource is in a state in which this cannot be done."""
    return ApiError("IncorrectState", message)


def operation_not_permitted(message: str) -> ApiError:
    """Refused by the resource's own protection."""
    return ApiError("OperationNotPermitted", message)


def dependency_violation(message: str) -> ApiError:
    """Another resource still needs this one."""
    return ApiError("DependencyViolation", message)


def invalid_id(resource_id: str) -> ApiError:
    """An id of no kind that can be tagged."""
    return ApiError("InvalidID", f"The ID '{resource_id}' is not valid")


# --- images -------------------------------------------------------------------------------------------------


def image_not_found(image_id: str) -> ApiError:
    """No such image, or none that the account may see."""
    return ApiError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")


def image_id_malformed(image_id: str) -> ApiError:
    """Not the form of an image id."""
    return ApiError("InvalidAMIID.Malformed", f'Invalid id: "{image_id}" (expecting "ami-...")')


def image_unavailable(image_id: str) -> ApiError:
    """The image has been deregistered, or is not available yet."""
    return ApiError("InvalidAMIID.Unavailable", f"The image ID '{image_id}' is not available")


def image_name_duplicate(name: str, image_id: str) -> ApiError:
    """The account has an image of this name."""
    return ApiError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {image_id}")


def image_name_malformed() -> ApiError:
    """A name out of range."""
    message = (
        "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, and only the "
        "following characters: ( ) [ ] space . / - ' @ _"
    )
    return ApiError("InvalidAMIName.Malformed", message)


# --- instances ----------------------------------------------------------------------------------------------


def incorrect_instance_state(instance_id: str, state: str, wanted: str) -> ApiError:
    """E.g. starting a terminated instance. ``wanted`` continues "from which it can be"."""
    message = f"The instance '{instance_id}' is not in a state from which it can be {wanted} (it is {state})."
    return ApiError("IncorrectInstanceState", message)


def block_device_mapping_invalid(message: str) -> ApiError:
    """A mapping that cannot be made."""
    return ApiError("InvalidBlockDeviceMapping", message)


# --- volumes and snapshots ----------------------------------------------------------------------------------


def volume_not_found(volume_id: str) -> ApiError:
    """No such volume in the account."""
    return ApiError("InvalidVolume.NotFound", f"The volume '{volume_id}' does not exist.")


def volume_id_malformed(volume_id: str) -> ApiError:
    """Not the form of a volume id."""
    message = f"Value ({volume_id}) for parameter volumeId is invalid. Expected: 'vol-...'."
    return ApiError("InvalidVolumeID.Malformed", message)


def volume_in_use(volume_id: str, instance_id: str) -> ApiError:
    """The volume is attached."""
    return ApiError("VolumeInUse", f"Volume {volume_id} is currently attached to {instance_id}")


def volume_zone_mismatch(volume_id: str, instance_id: str) -> ApiError:
    """Volume and instance are in different availability zones."""
    message = f"The volume '{volume_id}' is not in the same availability zone as instance '{instance_id}'"
    return ApiError("InvalidVolume.ZoneMismatch", message)


def attachment_not_found(message: str) -> ApiError:
    """The volume is not attached there."""
    return ApiError("InvalidAttachment.NotFound", message)


def attachment_limit_exceeded(instance_id: str) -> ApiError:
    """No slot is left on the instance."""
    message = f"Instance {instance_id} has reached its limit of attached volumes"
    return ApiError("AttachmentLimitExceeded", message)


def snapshot_not_found(snapshot_id: str) -> ApiError:
    """No such snapshot, or none that the account may see."""
    return ApiError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")


def snapshot_id_malformed(snapshot_id: str) -> ApiError:
    """Not the form of a snapshot id."""
    message = f"Value ({snapshot_id}) for parameter snapshotId is invalid. Expected: 'snap-...'."
    return ApiError("InvalidSnapshotID.Malformed", message)


def snapshot_in_use(snapshot_id: str, image_id: str) -> ApiError:
    """An image needs the snapshot."""
    return ApiError("InvalidSnapshot.InUse", f"The snapshot {snapshot_id} is currently in use by {image_id}")


# --- key pairs ----------------------------------------------------------------------------------------------


def key_pair_not_found(name: str) -> ApiError:
    """No such key pair in the account."""
    return ApiError("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")


def key_pair_duplicate(name: str) -> ApiError:
    """The account has a key pair of this name."""
    return ApiError("InvalidKeyPair.Duplicate", f"The keypair '{name}' already exists.")


def key_format_invalid() -> ApiError:
    """Not an OpenSSH public key, or of an unsupported type."""
    return ApiError("InvalidKey.Format", "Key is not in valid OpenSSH public key format")


# --- network ------------------------------------------------------------------------------------------------


def group_not_found(group: str) -> ApiError:
    """No such security group, by id or name."""
    return ApiError("InvalidGroup.NotFound", f"The security group '{group}' does not exist")


def group_id_malformed(group_id: str) -> ApiError:
    """Not the form of a group id."""
    return ApiError("InvalidGroupId.Malformed", f'Invalid id: "{group_id}" (expecting "sg-...")')


def group_duplicate(name: str, vpc_id: str) -> ApiError:
    """The VPC has a group of this name."""
    message = f"The security group '{name}' already exists for VPC '{vpc_id}'"
    return ApiError("InvalidGroup.Duplicate", message)


def group_cannot_be_deleted(message: str) -> ApiError:
    """The default group."""
    return ApiError("CannotDelete", message)


def permission_duplicate(rule: str) -> ApiError:
    """The group has this rule."""
    return ApiError("InvalidPermission.Duplicate", f'the specified rule "{rule}" already exists')


def permission_not_found(message: str) -> ApiError:
    """The group has no such rule."""
    return ApiError("InvalidPermission.NotFound", message)


def group_rule_not_found(rule_id: str) -> ApiError:
    """No such rule id."""
    message = f"The security group rule ID '{rule_id}' does not exist"
    return ApiError("InvalidSecurityGroupRuleId.NotFound", message)


def group_rule_id_malformed(rule_id: str) -> ApiError:
    """Not the form of a rule's id."""
    return ApiError("InvalidSecurityGroupRuleId.Malformed", f'Invalid id: "{rule_id}" (expecting "sgr-...")')


def rules_limit_exceeded() -> ApiError:
    """More rules than a group may have."""
    message = "The maximum number of rules per security group has been reached."
    return ApiError("RulesPerSecurityGroupLimitExceeded", message)


def network_interface_not_found(interface_id: str) -> ApiError:
    """No such network interface in the account."""
    message = f"The networkInterface ID '{interface_id}' does not exist"
    return ApiError("InvalidNetworkInterfaceID.NotFound", message)


def network_interface_id_malformed(interface_id: str) -> ApiError:
    """Not the form of a network interface's id."""
    return ApiError("InvalidNetworkInterfaceId.Malformed", f'Invalid id: "{interface_id}" (expecting "eni-...")')
