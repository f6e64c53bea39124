"""The errors of launch templates.

Codes: EC2 Developer Guide, "Error codes for the Amazon EC2 API". Wording: as EC2 is seen to answer in public issues
of terraform-provider-aws, karpenter-provider-aws, eksctl and moto.
"""

from bakehouse.errors import ApiError


def id_malformed(template_id: str) -> ApiError:
    """Not the form of a launch template's id."""
    return ApiError("InvalidLaunchTemplateId.Malformed", f'Invalid id: "{template_id}" (expecting "lt-...")')


def id_not_found(template_id: str) -> ApiError:
    """No such launch template in the account."""
    message = f"The specified launch template, with template ID {template_id}, does not exist."
    return ApiError("InvalidLaunchTemplateId.NotFound", message)


def name_not_found(name: str) -> ApiError:
    """No launch template of this name in the account."""
    message = f"The specified launch template, with template name {name}, does not exist."
    return ApiError("InvalidLaunchTemplateName.NotFoundException", message)


def name_malformed() -> ApiError:
    """A name out of form."""
    message = (
        "A launch template name must be between 3 and 128 characters, and may contain letters, numbers, and the "
        "following characters: - ( ) . / _."
    )
    return ApiError("InvalidLaunchTemplateName.MalformedException", message)


def name_in_use() -> ApiError:
    """The account has a launch template of this name."""
    return ApiError("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")


def version_not_found(number: int, template_id: str) -> ApiError:
    """The template has no version of this number, or has it no more."""
    message = f"Could not find the specified version {number} for the launch template with ID {template_id}."
    return ApiError("InvalidLaunchTemplateId.VersionNotFound", message)


def version_malformed() -> ApiError:
    """What is no version. EC2 Auto Scaling's words for the same mistake; the code is the general one."""
    message = "Invalid launch template version: either '$Default', '$Latest', or a numeric version are allowed."
    return ApiError("InvalidParameterValue", message)


def id_and_name() -> ApiError:
    """Both were given. API Reference: "either the launch template ID or the launch template name, but not both"."""
    message = "You must specify either the launch template ID or the launch template name, but not both."
    return ApiError("InvalidParameterCombination", message)


def limit_exceeded(message: str) -> ApiError:
    """More templates in a region, or versions of one, than EC2's quotas (the general code for them)."""
    return ApiError("ResourceLimitExceeded", message)
