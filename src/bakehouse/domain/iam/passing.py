"""How an instance gets a role: through an instance profile, from somebody who may pass the role on.

Invariant: an instance has one profile at most, of its own account; the association's id changes with it.
Codes and words as Terraform and Packer look for them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from bakehouse.database.models import IamRole, Instance, InstanceProfile, now
from bakehouse.domain.iam import instance_profiles, roles
from bakehouse.domain.iam.authority import Authority, Target
from bakehouse.errors import ApiError
from bakehouse.ids import Prefix, new_id


@dataclass(frozen=True, kw_only=True)
class ProfileWithRole:
    """An instance profile and the role it hands out."""

    profile: InstanceProfile
    role: IamRole


def check_pass_role(authority: Authority, role: IamRole) -> None:
    """Refuse who may not pass the role on to EC2 (iam:PassRole): whoever does could use it."""
    to_instances = {"iam:passedtoservice": ("ec2.amazonaws.com",)}
    authority.check("iam:PassRole", [Target(arn=roles.arn_of(role), more=to_instances)])


def find_specified(
    session: Session, account_id: str, specification: Mapping[str, str] | None
) -> ProfileWithRole | None:
    """Return what an IamInstanceProfile names by Arn or Name; None for none, however clients say so."""
    if not specification:
        return None
    name, arn = specification.get("Name"), specification.get("Arn", "")
    if name and arn:
        raise ApiError(
            "InvalidParameterCombination",
            "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'",
        )
    profile = instance_profiles.find(session, account_id, name or arn.rpartition("/")[2])
    if profile is None or (arn and instance_profiles.arn_of(profile) != arn):
        raise _invalid(name, arn)
    role = instance_profiles.role_of(session, profile)
    if role is None:
        words = f'IAM Instance Profile "{instance_profiles.arn_of(profile)}" has no associated IAM Roles'
        raise ApiError("InvalidParameterValue", words)
    return ProfileWithRole(profile=profile, role=role)


def _invalid(name: str | None, arn: str) -> ApiError:
    member, word = ("name", "name") if name else ("arn", "ARN")
    return ApiError(
        "InvalidParameterValue",
        f"Value ({(name or arn)[:256]}) for parameter iamInstanceProfile.{member} is invalid. "
        f"Invalid IAM Instance Profile {word}",
    )


def set_profile(instance: Instance, profile: InstanceProfile) -> None:
    """Give an instance a profile instead of the one it has, if any."""
    instance.instance_profile_id = profile.profile_id
    instance.instance_profile_arn = instance_profiles.arn_of(profile)
    instance.profile_association_id = new_id(Prefix.IAM_INSTANCE_PROFILE_ASSOCIATION)
    instance.profile_associated_at = now()


def remove_profile(instance: Instance) -> None:
    """Take the profile away; credentials that the instance has got work until they expire, as on EC2."""
    instance.instance_profile_id = instance.instance_profile_arn = None
    instance.profile_association_id = instance.profile_associated_at = None
