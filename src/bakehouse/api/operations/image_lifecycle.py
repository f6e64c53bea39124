"""Enable and disable: an image's deprecation, the image itself, its protection from being deregistered."""

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.registry import operation
from bakehouse.database.models import Image
from bakehouse.domain import image_lifecycle, images


def _own(context: RequestContext, request: Parameters) -> Image:
    return images.get_own(context.session, context.account_id, request["ImageId"])


@operation("ec2", "EnableImageDeprecation", mutates=True, honours=("ImageId", "DeprecateAt"))
def enable_image_deprecation(context: RequestContext, request: Parameters) -> Reply:
    """Hide the image from others from then on, unless they know its id."""
    image_lifecycle.deprecate(_own(context, request), request["DeprecateAt"])
    return {"Return": True}


@operation("ec2", "DisableImageDeprecation", mutates=True, honours=("ImageId",))
def disable_image_deprecation(context: RequestContext, request: Parameters) -> Reply:
    """Take that back."""
    image_lifecycle.cancel_deprecation(_own(context, request))
    return {"Return": True}


@operation("ec2", "DisableImage", mutates=True, honours=("ImageId",))
def disable_image(context: RequestContext, request: Parameters) -> Reply:
    """Share the image with nobody and let nobody launch it."""
    image_lifecycle.disable(_own(context, request))
    return {"Return": True}


@operation("ec2", "EnableImage", mutates=True, honours=("ImageId",))
def enable_image(context: RequestContext, request: Parameters) -> Reply:
    """Let its owner launch it again."""
    image_lifecycle.enable(_own(context, request))
    return {"Return": True}


@operation("ec2", "EnableImageDeregistrationProtection", mutates=True, honours=("ImageId", "WithCooldown"))
def enable_image_deregistration_protection(context: RequestContext, request: Parameters) -> Reply:
    """Keep the image from being deregistered, on request for a day longer than the protection lasts."""
    with_cooldown = request.get("WithCooldown", False)
    return {"Return": image_lifecycle.protect(_own(context, request), with_cooldown=with_cooldown)}


@operation("ec2", "DisableImageDeregistrationProtection", mutates=True, honours=("ImageId",))
def disable_image_deregistration_protection(context: RequestContext, request: Parameters) -> Reply:
    """Allow it to be deregistered, at once or a day later."""
    return {"Return": image_lifecycle.unprotect(_own(context, request))}
