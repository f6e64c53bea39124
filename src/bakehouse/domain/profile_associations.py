"""Instance profiles of instances that exist already: given, changed, taken away."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import Instance, InstanceProfile
from bakehouse.domain import instances
from bakehouse.domain.iam.passing import set_profile
from bakehouse.errors import ApiError
from bakehouse.ids import Prefix, is_well_formed

_HAVE_PROFILES = ("pending", "running", "stopping", "stopped")


def associate(session: Session, account_id: str, instance_id: str, profile: InstanceProfile) -> Instance:
    """Give a profile to an instance that has none."""
    instance = instances.get(session, account_id, instance_id)
    if instance.profile_association_id is not None:
        raise ApiError("IncorrectState", f"There is an existing association for instance {instance_id}")
    replace(instance, profile)
    return instance


def replace(instance: Instance, profile: InstanceProfile) -> None:
    """Give an instance another profile."""
    if instance.state not in _HAVE_PROFILES:
        raise ApiError(
            "IncorrectInstanceState",
            f"The instance '{instance.instance_id}' is not in a state in which it can have an instance profile.",
        )
    set_profile(instance, profile)


def get_instance(session: Session, account_id: str, association_id: str) -> Instance:
    """Return the instance of an association; InvalidAssociationID.NotFound."""
    if not is_well_formed(Prefix.IAM_INSTANCE_PROFILE_ASSOCIATION, association_id):
        raise ApiError("InvalidParameterValue", "Invalid value for associationId.")
    found = visible(session, account_id, [association_id])
    if not found:
        raise ApiError("InvalidAssociationID.NotFound", f"An invalid association-id of '{association_id}' was given")
    return found[0]


def visible(session: Session, account_id: str, association_ids: Sequence[str] = ()) -> list[Instance]:
    """The blessed select: the account's instances that have a profile, oldest association first."""
    query = sa.select(Instance).where(
        Instance.account_id == account_id,
        Instance.profile_association_id.is_not(None),
        Instance.state.in_(_HAVE_PROFILES),
    )
    if association_ids:
        query = query.where(Instance.profile_association_id.in_(association_ids))
    return list(session.scalars(query.order_by(Instance.profile_associated_at, Instance.instance_id)))
