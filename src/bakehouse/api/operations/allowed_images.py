"""Enable, Disable and Get AllowedImagesSettings, ReplaceImageCriteriaInAllowedImagesSettings."""

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.registry import operation
from bakehouse.domain import allowed_images


@operation("ec2", "EnableAllowedImagesSettings", mutates=True, honours=("AllowedImagesSettingsState",))
def enable_allowed_images_settings(context: RequestContext, request: Parameters) -> Reply:
    """Apply the criteria from now on, or only say what they would do."""
    state = request["AllowedImagesSettingsState"]
    allowed_images.set_state(context.session, context.account_id, state)
    return {"AllowedImagesSettingsState": state}


@operation("ec2", "DisableAllowedImagesSettings", mutates=True)
def disable_allowed_images_settings(context: RequestContext, request: Parameters) -> Reply:
    """Every image is allowed; the criteria stay."""
    del request
    allowed_images.set_state(context.session, context.account_id, allowed_images.DISABLED)
    return {"AllowedImagesSettingsState": allowed_images.DISABLED}


@operation("ec2", "GetAllowedImagesSettings", mutates=False)
def get_allowed_images_settings(context: RequestContext, request: Parameters) -> Reply:
    """What is set."""
    del request
    found = allowed_images.get(context.session, context.account_id)
    return {"State": found.state, "ImageCriteria": list(found.criteria), "ManagedBy": "account"}


@operation(
    "ec2",
    "ReplaceImageCriteriaInAllowedImagesSettings",
    mutates=True,
    honours=(
        "ImageCriteria[].CreationDateCondition",
        "ImageCriteria[].DeprecationTimeCondition",
        "ImageCriteria[].ImageNames",
        "ImageCriteria[].ImageProviders",
        "ImageCriteria[].MarketplaceProductCodes",
    ),
)
def replace_image_criteria_in_allowed_images_settings(context: RequestContext, request: Parameters) -> Reply:
    """Set other criteria, or none at all."""
    allowed_images.replace_criteria(context.session, context.account_id, request.get("ImageCriteria", ()))
    return {"ReturnValue": True}
