"""The errors of Systems Manager's parameters.

Source, unless a docstring says otherwise: the errors sections of the operations in the AWS Systems Manager API
Reference (GetParameter, PutParameter ...), all with status 400.
"""

from bakehouse.errors import ApiError


def validation(message: str) -> ApiError:
    """A value that is out of form. Source: the same reference, "Common Errors"."""
    return ApiError("ValidationException", message)


def access_denied(name: str) -> ApiError:
    """A name that belongs to AWS. Source: seen from PutParameter with a name below /aws/."""
    return ApiError("AccessDeniedException", f"No access to reserved parameter name: {name}.")


def not_found(name: str) -> ApiError:
    """The account has no such parameter."""
    return ApiError("ParameterNotFound", f"Parameter {name} not found.")


def version_not_found(name: str, version: object) -> ApiError:
    """The parameter has no such version, or none of that label."""
    message = f"Systems Manager could not find version {version} of {name}. Verify the version and try again."
    return ApiError("ParameterVersionNotFound", message)


def already_exists(name: str) -> ApiError:
    """A name that is taken, and Overwrite is not set."""
    message = f"The parameter {name} already exists. To overwrite this value, set the overwrite option to true."
    return ApiError("ParameterAlreadyExists", message)


def type_mismatch() -> ApiError:
    """Overwriting with another type."""
    message = (
        "Parameter Store does not support changing a parameter type in a hierarchy. For example, you can't change a "
        "parameter from a String type to a SecureString type. You must create a new, unique parameter."
    )
    return ApiError("HierarchyTypeMismatchException", message)


def too_many_levels(maximum: int) -> ApiError:
    """A name with too many levels."""
    message = f"A hierarchy can have a maximum of {maximum} levels."
    return ApiError("HierarchyLevelLimitExceededException", message)


def limit_exceeded(maximum: int) -> ApiError:
    """More parameters than an account may have."""
    return ApiError("ParameterLimitExceeded", f"The account has reached its limit of {maximum} parameters.")


def max_version_limit_exceeded(name: str) -> ApiError:
    """The oldest version would have to go, and it has a label."""
    message = (
        f"Cannot overwrite {name}: the oldest of its versions, which would be deleted, has a label. Move the label to "
        "another version and try again."
    )
    return ApiError("ParameterMaxVersionLimitExceeded", message)


def label_limit_exceeded(maximum: int) -> ApiError:
    """More labels than a version may have."""
    message = f"A parameter version can have a maximum of {maximum} labels."
    return ApiError("ParameterVersionLabelLimitExceeded", message)


def invalid_key_id(key_id: str) -> ApiError:
    """A key that does not exist; there is one here."""
    return ApiError("InvalidKeyId", f"Invalid keyId {key_id}: parameters are encrypted with alias/aws/ssm.")


def invalid_filter_key(key: str) -> ApiError:
    """A filter the operation does not have."""
    return ApiError("InvalidFilterKey", f"The following filter key is not valid: {key}.")


def invalid_filter_option(option: str) -> ApiError:
    """An option the filter does not have."""
    return ApiError("InvalidFilterOption", f"The following filter option is not valid: {option}.")


def invalid_filter_value(message: str) -> ApiError:
    """Values the filter cannot have."""
    return ApiError("InvalidFilterValue", message)


def invalid_resource_type(resource_type: str) -> ApiError:
    """Tags of something that is no parameter."""
    return ApiError("InvalidResourceType", f"The resource type is not valid: {resource_type}.")


def invalid_resource_id(resource_id: str) -> ApiError:
    """Tags of a parameter the account does not have."""
    return ApiError("InvalidResourceId", f"The resource ID is not valid: {resource_id}.")


def too_many_tags(maximum: int) -> ApiError:
    """More tags than a resource may have."""
    return ApiError("TooManyTagsError", f"The number of tags exceeds the limit of {maximum}.")
