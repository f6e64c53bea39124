"""Allowed AMIs: which images of others an account discovers and launches, in a region.

Invariant: an account's own images are always allowed. Otherwise an image is when it meets every condition of one
criterion; while there is no criterion nothing is restricted.
Source: EC2 User Guide, "Control the discovery and use of AMIs in Amazon EC2 with Allowed AMIs"; limits: EC2 API
Reference, ImageCriterionRequest.
"""

import fnmatch
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import Image, RegionSetting, now
from bakehouse.database.session import region_of
from bakehouse.domain import image_lifecycle, region_settings
from bakehouse.domain.accounts import OWNER_ALIASES, is_account_id
from bakehouse.domain.product_codes import is_product_code

Criterion = Mapping[str, Any]

ENABLED, AUDIT, DISABLED = "enabled", "audit-mode", "disabled"
_SETTING = "allowed-images"
_NOBODY_ELSE = "none"
_PROVIDERS = {*OWNER_ALIASES, "aws-backup-vault", _NOBODY_ELSE}
_NAME_PATTERN = re.compile(r"[A-Za-z0-9()\[\] ./'@_*?-]{1,128}")
_MAX_CRITERIA = 10
_MAX_OF = {"ImageProviders": 200, "ImageNames": 50, "MarketplaceProductCodes": 50}
_DAY_S = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class AllowedImages:
    """What an account has set; ``account_id`` is its own."""

    account_id: str
    state: str = DISABLED
    criteria: Sequence[Criterion] = ()

    def verdict(self, image: Image | sa.Row[Any], owner_alias: str | None) -> bool | None:
        """Whether the image is allowed; None while nobody asks."""
        if self.state == DISABLED:
            return None
        if image.account_id == self.account_id or not self.criteria:
            return True
        return any(_meets(image, owner_alias, criterion) for criterion in self.criteria)

    def hides(self, image: Image | sa.Row[Any], owner_alias: str | None) -> bool:
        """Whether the account is to see and use it no more than if it did not exist."""
        return self.state == ENABLED and not self.verdict(image, owner_alias)


def get(session: Session, account_id: str) -> AllowedImages:
    """What the account has set in the request's region."""
    return _read(account_id, region_settings.get_setting(session, account_id, _SETTING, {}))


def column(session: Session, account_id: str) -> sa.ScalarSelect[str]:
    """The same as a column of another statement, for ``of_column``: a listing needs no statement more."""
    row = RegionSetting.__table__.columns
    query = sa.select(sa.cast(row.value, sa.String)).where(
        row.account_id == account_id, row.region == region_of(session), row.name == _SETTING
    )
    return query.scalar_subquery()


def of_column(account_id: str, text: str | None) -> AllowedImages:
    """Read the column."""
    return _read(account_id, json.loads(text) if text else {})


def _read(account_id: str, setting: Mapping[str, Any]) -> AllowedImages:
    return AllowedImages(
        account_id=account_id, state=setting.get("state", DISABLED), criteria=tuple(setting.get("criteria", ()))
    )


def set_state(session: Session, account_id: str, state: str) -> None:
    """Apply the criteria, only say what they would do, or neither; they stay."""
    _put(session, account_id, state, get(session, account_id).criteria)


def replace_criteria(session: Session, account_id: str, criteria: Sequence[Criterion]) -> None:
    """Set other criteria, or none."""
    if len(criteria) > _MAX_CRITERIA:
        raise errors.invalid_parameter_value(f"At most {_MAX_CRITERIA} image criteria can be specified.")
    for member, limit in _MAX_OF.items():
        if sum(len(criterion.get(member, ())) for criterion in criteria) > limit:
            raise errors.invalid_parameter_value(f"At most {limit} values of {member} can be specified.")
    for criterion in criteria:
        _check(criterion)
    _put(session, account_id, get(session, account_id).state, criteria)


def _put(session: Session, account_id: str, state: str, criteria: Sequence[Criterion]) -> None:
    region_settings.put_setting(session, account_id, _SETTING, {"state": state, "criteria": list(criteria)})


def _check(criterion: Criterion) -> None:
    providers = criterion.get("ImageProviders", ())
    for provider in providers:
        if provider not in _PROVIDERS and not is_account_id(provider):
            raise errors.invalid_value_for("ImageProvider", provider[:100])
    if _NOBODY_ELSE in providers and len(providers) > 1:
        raise errors.invalid_value_for("ImageProvider", _NOBODY_ELSE, "No other provider can be specified with it.")
    for name in criterion.get("ImageNames", ()):
        # EC2 wants three characters where one of them stands for any.
        if not _NAME_PATTERN.fullmatch(name) or ("?" in name and len(name) < 3):
            raise errors.invalid_value_for("ImageName", name[:200])
    for code in criterion.get("MarketplaceProductCodes", ()):
        if not is_product_code(code):
            raise errors.invalid_value_for("MarketplaceProductCode", code[:100])


def _meets(image: Image | sa.Row[Any], owner_alias: str | None, criterion: Criterion) -> bool:
    conditions: dict[str, Callable[[Any], bool]] = {
        "ImageProviders": lambda providers: image.account_id in providers or owner_alias in providers,
        "ImageNames": lambda names: any(_pattern(name).fullmatch(image.name) for name in names),
        "MarketplaceProductCodes": lambda codes: any(
            one["ProductCodeId"] in codes for one in image.product_codes or ()
        ),
        "CreationDateCondition": lambda condition: _is_young(image, condition),
        "DeprecationTimeCondition": lambda condition: _is_lately_deprecated(image, condition),
    }
    return all(holds(criterion[member]) for member, holds in conditions.items() if member in criterion)


def _is_young(image: Image | sa.Row[Any], condition: Mapping[str, int]) -> bool:
    days = condition.get("MaximumDaysSinceCreated")
    return days is None or (now() - image.created_at).total_seconds() <= days * _DAY_S


def _is_lately_deprecated(image: Image | sa.Row[Any], condition: Mapping[str, int]) -> bool:
    days = condition.get("MaximumDaysSinceDeprecated")
    since = image_lifecycle.deprecation_time(
        is_public=image.is_public, created_at=image.created_at, deprecate_at=image.deprecate_at
    )
    return days is None or since is None or (now() - since).total_seconds() <= days * _DAY_S


@lru_cache(maxsize=512)
def _pattern(name: str) -> re.Pattern[str]:
    """A name with wildcards; brackets are themselves. What fnmatch makes needs no backtracking over its stars."""
    return re.compile(fnmatch.translate(name.replace("[", "[[]")))
