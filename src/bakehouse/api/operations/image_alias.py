"""An ImageId that is the name of a parameter: ``resolve:ssm:NAME``, ``NAME:VERSION`` or ``NAME:LABEL``.

Source: EC2 User Guide, "Use a Systems Manager parameter instead of an AMI ID", and the permission it asks for.
"""

from bakehouse.api.context import Parameters, RequestContext
from bakehouse.api.targets import Asked, targets_of
from bakehouse.domain import parameters, template_data
from bakehouse.errors import ApiError


def image_id_of(context: RequestContext, image_id: str, *, keeps_stale: bool = False) -> str:
    """Return the id that a parameter holds now, which the caller must be allowed to read; another id as it is.

    ``keeps_stale``: so is the name of a parameter that is not there.
    """
    if not template_data.is_alias(image_id):
        return image_id
    reference = image_id.removeprefix(template_data.ALIAS_PREFIX)
    asked = Asked(
        service="ssm",
        action="GetParameters",
        parameters={"Names": [reference]},
        principal=context.principal,
        region=context.region,
        session=context.session,
    )
    context.authority.check("ssm:GetParameters", targets_of(asked))
    try:
        return parameters.resolve(context.session, context.account_id, reference)
    except ApiError:
        if keeps_stale:
            return image_id
        raise


def with_image_id(context: RequestContext, request: Parameters) -> Parameters:
    """The parameters of a launch, their image by its id."""
    return {**request, "ImageId": image_id_of(context, request["ImageId"])} if "ImageId" in request else request
