"""What an owner does with an image once it is there: deprecate, disable, protect.

EC2 User Guide, "Deprecate an AMI", "Disable an AMI", "Protect an AMI from deregistration".
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa

from bakehouse import errors
from bakehouse.database.models import Image, now
from bakehouse.domain.image_states import ImageState, move
from bakehouse.errors import images as image_errors

_LONGEST_YEARS = 10
_PUBLIC_YEARS = 2
_COOLDOWN = timedelta(hours=24)
_HALF_A_MINUTE = timedelta(seconds=30)


class Protection(StrEnum):
    """EC2's words for protection from being deregistered."""

    DISABLED = "disabled"
    WITH_COOLDOWN = "enabled-with-cooldown"
    WITHOUT_COOLDOWN = "enabled-without-cooldown"


def _years_from(moment: datetime, years: int) -> datetime:
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:  # the 29th of February
        return moment.replace(year=moment.year + years, day=28)


def deprecation_time(*, is_public: bool, created_at: datetime, deprecate_at: datetime | None) -> datetime | None:
    """From when on an image is deprecated: as its owner says, and a public one two years after it was made."""
    if not is_public:
        return deprecate_at
    latest = _to_minute(_years_from(created_at, _PUBLIC_YEARS))
    return min(deprecate_at, latest) if deprecate_at else latest


def is_deprecated() -> sa.ColumnElement[bool]:
    """The same of a row, at this moment."""
    moment = now()
    is_old = sa.and_(Image.is_public, Image.created_at <= _years_from(moment, -_PUBLIC_YEARS))
    return sa.or_(sa.and_(Image.deprecate_at.is_not(None), Image.deprecate_at <= moment), is_old)


def _to_minute(moment: datetime) -> datetime:
    return (moment + _HALF_A_MINUTE).replace(second=0, microsecond=0)


def deprecate(image: Image, at: datetime) -> None:
    """Have it deprecated from then on, to the nearest minute."""
    _check_there(image)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    moment = now()
    latest = _years_from(image.created_at, _PUBLIC_YEARS) if image.is_public else _years_from(moment, _LONGEST_YEARS)
    if at <= moment:
        raise errors.invalid_parameter_value("The deprecation date must be in the future.")
    if at > latest:
        raise errors.invalid_parameter_value(f"The deprecation date must not be after {latest:%Y-%m-%dT%H:%M:%SZ}.")
    image.deprecate_at = _to_minute(at)


def cancel_deprecation(image: Image) -> None:
    """Have it not deprecated any more; a public image still is after two years."""
    _check_there(image)
    image.deprecate_at = None


def disable(image: Image) -> None:
    """Nobody may launch it, and nobody but its owner knows of it any more."""
    if image.state == ImageState.DISABLED:
        return
    _check_there(image)
    move(image, ImageState.DISABLED)
    image.is_public = False
    image.launch_permissions.clear()


def check_shareable(image: Image) -> None:
    """Refuse to share what is disabled."""
    if image.state == ImageState.DISABLED:
        raise errors.image_unavailable(image.image_id)


def enable(image: Image) -> None:
    """Its owner may launch it again; it is shared with nobody."""
    _check_there(image)
    if image.state == ImageState.DISABLED:
        move(image, ImageState.AVAILABLE)


def protect(image: Image, *, with_cooldown: bool) -> Protection:
    """Keep it from being deregistered."""
    _check_there(image)
    return _set_protection(image, Protection.WITH_COOLDOWN if with_cooldown else Protection.WITHOUT_COOLDOWN)


def unprotect(image: Image) -> Protection:
    """Allow it to be deregistered, after the cooldown if there is one."""
    _check_there(image)
    return _set_protection(image, Protection.DISABLED)


def _set_protection(image: Image, kind: Protection) -> Protection:
    """A cooldown begins when a protection that has one ends, and then nothing shortens it."""
    if image.deregistration_protection == Protection.WITH_COOLDOWN != kind:
        image.protected_until = now() + _COOLDOWN
    image.deregistration_protection = kind
    return kind


def check_unprotected(image: Image) -> None:
    """Refuse to deregister what is protected, or was until a short while ago."""
    if image.deregistration_protection != Protection.DISABLED:
        raise image_errors.protected(image.image_id)
    if image.protected_until is not None and image.protected_until > now():
        raise image_errors.cooling_down(image.image_id, image.protected_until)


def _check_there(image: Image) -> None:
    if image.state not in {ImageState.AVAILABLE, ImageState.DISABLED}:
        raise errors.image_unavailable(image.image_id)
