"""Whether the caller may launch: RunInstances is done to all that a launch leads to, named or by default.

Source: Service Authorization Reference, "Amazon EC2": the resource types and condition keys of RunInstances.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from bakehouse.api import authorization
from bakehouse.api.context import RequestContext
from bakehouse.api.targets import Asked, tags_by_kind, values_at
from bakehouse.domain.iam.authority import Target
from bakehouse.domain.iam.facts import Values
from bakehouse.domain.iam.instance_profiles import arn_of
from bakehouse.domain.iam.passing import check_pass_role
from bakehouse.domain.instances import LaunchRequest


def authorize_launch(
    context: RequestContext, request: Mapping[str, Any], launch: LaunchRequest, *, template_id: str | None = None
) -> None:
    """Refuse a launch unless the caller may launch with everything in it, tag what it tags and pass its role on."""
    if context.principal.is_root:
        return
    asked = Asked(
        service="ec2",
        action="RunInstances",
        parameters=request,
        principal=context.principal,
        region=context.region,
        session=context.session,
    )
    targets = list(_targets(asked, launch))
    if template_id is not None:
        targets.append(Target(arn=asked.ec2_arn("launch-template", template_id)))
    context.authority.check("ec2:RunInstances", targets)
    authorization.authorize_tags(context.authority, asked)
    if launch.profile is not None:
        check_pass_role(context.authority, launch.profile.role)


def _targets(asked: Asked, launch: LaunchRequest) -> Iterator[Target]:
    tags = tags_by_kind(asked)
    yield Target(arn=asked.ec2_arn("image", launch.image.image_id))
    yield Target(arn=asked.ec2_arn("instance", "*"), values=_of_instance(launch), tags=tags.get("instance", {}))
    yield Target(arn=asked.ec2_arn("subnet", launch.subnet.subnet_id))
    for group in launch.groups:
        yield Target(arn=asked.ec2_arn("security-group", group.group_id))
    place = {
        "ec2:availabilityzone": (launch.subnet.availability_zone,),
        "ec2:subnet": (asked.ec2_arn("subnet", launch.subnet.subnet_id),),
        "ec2:vpc": (asked.ec2_arn("vpc", launch.subnet.vpc_id),),
    }
    interface_tags = tags.get("network-interface", {})
    yield Target(arn=asked.ec2_arn("network-interface", "*"), values=place, tags=interface_tags)
    named = set(values_at(asked.parameters, "BlockDeviceMappings[].Ebs.SnapshotId"))
    for planned in launch.volumes:
        values = {
            "ec2:availabilityzone": (launch.subnet.availability_zone,),
            "ec2:volumesize": (str(planned.size_gib),),
            "ec2:volumetype": (planned.volume_type,),
        }
        yield Target(arn=asked.ec2_arn("volume", "*"), values=values, tags=tags.get("volume", {}))
        # The snapshots an image brings along go with the right to launch it, unless the request names them too.
        is_named = planned.snapshot_id in named
        if planned.snapshot_id is not None and (is_named or not planned.is_of_image):
            yield Target(arn=asked.ec2_arn("snapshot", planned.snapshot_id))
    if launch.key_name is not None:
        yield Target(arn=asked.ec2_arn("key-pair", launch.key_name))


def _of_instance(launch: LaunchRequest) -> Values:
    values = {
        "ec2:availabilityzone": launch.subnet.availability_zone,
        "ec2:instancetype": launch.instance_type.name,
        "ec2:rootdevicetype": "ebs",
    }
    if launch.profile is not None:
        values["ec2:instanceprofile"] = arn_of(launch.profile.profile)
    return {name: (value,) for name, value in values.items()}
