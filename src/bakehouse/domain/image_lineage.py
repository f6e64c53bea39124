"""What an image came from, and what refers to it."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import Image, Instance
from bakehouse.database.session import everywhere, in_region
from bakehouse.domain import images, launch_templates, parameters, template_data
from bakehouse.domain.instances import State
from bakehouse.errors import ApiError

INSTANCE, TEMPLATE, PARAMETER = "ec2:Instance", "ec2:LaunchTemplate", "ssm:Parameter"
# Image Builder is no part of this service yet: it has no recipes, so none refers to anything.
RESOURCE_TYPES = (INSTANCE, TEMPLATE, PARAMETER, "imagebuilder:ImageRecipe", "imagebuilder:ContainerRecipe")
STATE_NAME, VERSION_DEPTH = "state-name", "version-depth"
_OPTIONS = {INSTANCE: STATE_NAME, TEMPLATE: VERSION_DEPTH}
# EC2's default: how many of a template's newest versions are looked at.
_DEFAULT_DEPTH = 10
_MAX_IMAGES = 10
_DEPTH = re.compile(r"[1-9][0-9]{0,4}")


def ancestry(session: Session, account_id: str, image: Image) -> list[Image]:
    """The image and what it was made of, back to the first one or to one the account may not see."""
    chain = [image]
    while (parent := _parent(session, account_id, chain[-1])) is not None and parent not in chain:
        chain.append(parent)
    return chain


def _parent(session: Session, account_id: str, image: Image) -> Image | None:
    if image.source_image_id is None:
        return None
    query = everywhere(sa.select(Image).where(Image.image_id == image.source_image_id))
    parent = session.scalars(query).first()
    # One's own is known even when it is deregistered.
    if parent is None or parent.account_id == account_id:
        return parent
    with in_region(session, parent.region):
        try:
            return images.get_visible(session, account_id, parent.image_id)
        except ApiError:
            return None


def launched_from(session: Session, instances: Collection[Instance]) -> dict[str, Image]:
    """The images of instances, by id: also those that are deregistered or not shared with their owner any more."""
    image_ids = {one.image_id for one in instances}
    return {image.image_id: image for image in session.scalars(sa.select(Image).where(Image.image_id.in_(image_ids)))}


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A resource of the account that names an image; ``resource`` is the end of its ARN."""

    image_id: str
    resource_type: str
    resource: str


# Resource type -> the values of its option; none where the default is meant.
Wanted = Mapping[str, Sequence[str]]


def check_wanted(resource_type: str, option: str, values: Sequence[str]) -> None:
    """Refuse an option that the type does not have, and values it cannot have."""
    if _OPTIONS.get(resource_type) != option:
        raise errors.invalid_parameter_value(f"The option {option} is not valid for the resource type {resource_type}.")
    states = {state.value for state in State}
    if not (set(values) <= states if option == STATE_NAME else len(values) == 1 and _DEPTH.fullmatch(values[0])):
        raise errors.invalid_parameter_value(f"Invalid value for the option {option}.")


def references(session: Session, account_id: str, image_ids: Sequence[str], wanted: Wanted) -> list[Reference]:
    """The account's resources of the wanted types that name one of these images."""
    if len(image_ids) > _MAX_IMAGES:
        raise errors.invalid_parameter_value(f"At most {_MAX_IMAGES} images can be asked about at once.")
    images.visible(session, account_id, image_ids)
    found: list[Reference] = []
    if INSTANCE in wanted:
        found += _instances(session, account_id, image_ids, wanted[INSTANCE])
    if TEMPLATE in wanted:
        depth = int(next(iter(wanted[TEMPLATE]), _DEFAULT_DEPTH))
        found += _templates(session, account_id, image_ids, depth)
    if PARAMETER in wanted:
        found += _parameters(session, account_id, image_ids)
    return found


def _templates(session: Session, account_id: str, image_ids: Sequence[str], depth: int) -> Iterator[Reference]:
    for template in launch_templates.visible(session, account_id):
        names = set(launch_templates.images_named(session, template, depth))
        named = {_named_image(session, account_id, name) for name in names}
        for image_id in sorted(named.intersection(image_ids)):
            resource = f"launch-template/{template.launch_template_id}"
            yield Reference(image_id=image_id, resource_type=TEMPLATE, resource=resource)


def _named_image(session: Session, account_id: str, name: str) -> str:
    """What a template would launch now: the image it names, or the one of its parameter."""
    reference = name.removeprefix(template_data.ALIAS_PREFIX)
    if reference == name:
        return name
    try:
        return parameters.resolve(session, account_id, reference)
    except ApiError:
        return name


def _parameters(session: Session, account_id: str, image_ids: Sequence[str]) -> Iterator[Reference]:
    for one in parameters.visible(session, account_id):
        newest = one.versions[-1]
        if newest.data_type == parameters.IMAGE and (image_id := newest.value.decode()) in image_ids:
            resource = f"parameter/{one.name.removeprefix('/')}"
            yield Reference(image_id=image_id, resource_type=PARAMETER, resource=resource)


def _instances(
    session: Session, account_id: str, image_ids: Sequence[str], states: Sequence[str]
) -> Iterator[Reference]:
    query = sa.select(Instance.image_id, Instance.instance_id).where(
        Instance.account_id == account_id, Instance.image_id.in_(image_ids)
    )
    if states:
        query = query.where(Instance.state.in_(states))
    for image_id, instance_id in session.execute(query.order_by(Instance.image_id, Instance.instance_id)):
        yield Reference(image_id=image_id, resource_type=INSTANCE, resource=f"instance/{instance_id}")
