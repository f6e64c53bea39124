"""Launch templates: their names, their versions, and who may see them.

Invariant: a version never changes, its number is never given out again, and the default version is always there.
Quotas: EC2 User Guide, "Restrictions for Amazon EC2 launch templates", and one of ours: what all data of an account
takes, for 10,000 versions of 5,000 templates would be more than any host has.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, defer

from bakehouse import errors
from bakehouse.database.models import LaunchTemplate, LaunchTemplateVersion
from bakehouse.domain import tags, template_data
from bakehouse.errors import ApiError
from bakehouse.errors import launch_templates as template_errors
from bakehouse.ids import Prefix, is_well_formed, new_id

LATEST, DEFAULT = "$Latest", "$Default"
MAX_TEMPLATES = 5_000
MAX_VERSIONS = 10_000
MAX_VERSIONS_NAMED = 200
MAX_TOTAL_BYTES = 64 * 1024 * 1024
# So many versions' data is held at once while it is shown.
_READ_AT_ONCE = 20
# What a listing needs of a version; the data can be large and is read for what is shown only.
_WITHOUT_DATA = defer(LaunchTemplateVersion.data, raiseload=True)
_NAME = re.compile(r"[a-zA-Z0-9().\-/_]{3,128}")
_NUMBER = re.compile(r"[0-9]{1,18}")


class NotDeleted(Enum):
    """Why a version could not be deleted: the model's code."""

    UNKNOWN = "launchTemplateVersionDoesNotExist"
    IS_DEFAULT = "unexpectedError"


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """What became of one version that was to be deleted; ``refused`` is None when it is gone."""

    version_number: int
    refused: NotDeleted | None


def visible(
    session: Session, account_id: str, ids: Sequence[str] = (), names: Sequence[str] = ()
) -> list[LaunchTemplate]:
    """The blessed select: the account's launch templates, oldest first, or those named (all of them must exist)."""
    for template_id in ids:
        _check_id(template_id)
    query = sa.select(LaunchTemplate).where(LaunchTemplate.account_id == account_id)
    if ids or names:
        is_named = sa.or_(LaunchTemplate.launch_template_id.in_(ids), LaunchTemplate.name.in_(names))
        query = query.where(is_named)
    found = list(session.scalars(query.order_by(LaunchTemplate.created_at, LaunchTemplate.launch_template_id)))
    message = "At least one of the launch templates specified in the request does not exist."
    if set(ids) - {one.launch_template_id for one in found}:
        raise ApiError("InvalidLaunchTemplateId.NotFound", message)
    if set(names) - {one.name for one in found}:
        raise ApiError("InvalidLaunchTemplateName.NotFoundException", message)
    return found


def get(session: Session, account_id: str, *, template_id: str | None, name: str | None) -> LaunchTemplate:
    """Return the account's template of this id, or of this name; exactly one of them is to be given."""
    if template_id is not None and name is not None:
        raise template_errors.id_and_name()
    query = sa.select(LaunchTemplate).where(LaunchTemplate.account_id == account_id)
    if template_id is not None:
        _check_id(template_id)
        found = session.scalars(query.where(LaunchTemplate.launch_template_id == template_id)).first()
        missing = template_errors.id_not_found(template_id)
    elif name is not None:
        check_name(name)
        found = session.scalars(query.where(LaunchTemplate.name == name)).first()
        missing = template_errors.name_not_found(name)
    else:
        raise errors.missing_parameter("LaunchTemplateId or LaunchTemplateName")
    if found is None:
        raise missing
    return found


def get_by_id(session: Session, account_id: str, template_id: str) -> LaunchTemplate:
    """Return the account's template of this id."""
    return get(session, account_id, template_id=template_id, name=None)


def _check_id(template_id: str) -> None:
    if not is_well_formed(Prefix.LAUNCH_TEMPLATE, template_id):
        raise template_errors.id_malformed(template_id[:64])


def check_name(name: str) -> None:
    """Refuse what no template can be called."""
    if not _NAME.fullmatch(name):
        raise template_errors.name_malformed()


def create(
    session: Session, account_id: str, *, name: str, data: Mapping[str, Any], description: str, created_by: str
) -> LaunchTemplate:
    """Write a template with its version 1."""
    check_name(name)
    template_data.check(data)
    own = sa.select(LaunchTemplate.name).where(LaunchTemplate.account_id == account_id)
    if session.scalars(own.where(LaunchTemplate.name == name)).first() is not None:
        raise template_errors.name_in_use()
    count = session.scalar(sa.select(sa.func.count(LaunchTemplate.name)).where(LaunchTemplate.account_id == account_id))
    if (count or 0) >= MAX_TEMPLATES:
        raise template_errors.limit_exceeded(f"You have reached the limit of {MAX_TEMPLATES} launch templates.")
    template = LaunchTemplate(
        launch_template_id=new_id(Prefix.LAUNCH_TEMPLATE),
        account_id=account_id,
        name=name,
        created_by=created_by,
        default_version_number=1,
        latest_version_number=1,
        last_version_number=1,
        data_bytes=0,
    )
    session.add(template)
    session.flush()
    _write_version(session, template, 1, data=data, description=description, created_by=created_by)
    return template


def add_version(
    session: Session,
    template: LaunchTemplate,
    *,
    data: Mapping[str, Any],
    source: LaunchTemplateVersion | None,
    description: str,
    created_by: str,
) -> LaunchTemplateVersion:
    """Write the next version, on the basis of ``source`` if there is one."""
    whole = template_data.based_on(template_data.given(source.data), data) if source else data
    template_data.check(whole)
    numbers = sa.select(sa.func.count(LaunchTemplateVersion.version_number))
    count = session.scalar(numbers.where(LaunchTemplateVersion.launch_template_id == template.launch_template_id))
    if (count or 0) >= MAX_VERSIONS:
        raise template_errors.limit_exceeded(f"A launch template has at most {MAX_VERSIONS} versions.")
    number = template.last_version_number + 1
    version = _write_version(session, template, number, data=whole, description=description, created_by=created_by)
    template.last_version_number = template.latest_version_number = number
    return version


def _write_version(
    session: Session,
    template: LaunchTemplate,
    number: int,
    *,
    data: Mapping[str, Any],
    description: str,
    created_by: str,
) -> LaunchTemplateVersion:
    _take_room(session, template, template_data.size_of(data))
    version = LaunchTemplateVersion(
        launch_template_id=template.launch_template_id,
        version_number=number,
        description=description,
        created_by=created_by,
        data=template_data.kept(data),
    )
    session.add(version)
    session.flush()
    return version


def _take_room(session: Session, template: LaunchTemplate, size: int) -> None:
    held = sa.select(sa.func.sum(LaunchTemplate.data_bytes)).where(LaunchTemplate.account_id == template.account_id)
    if (session.scalar(held) or 0) + size > MAX_TOTAL_BYTES:
        raise template_errors.limit_exceeded(
            f"The data of all versions of an account's launch templates is limited to {MAX_TOTAL_BYTES} bytes."
        )
    template.data_bytes += size


def read_number(text: str) -> int:
    """A version's number; InvalidParameterValue for what is none."""
    if not _NUMBER.fullmatch(text):
        raise template_errors.version_malformed()
    return int(text)


def _number_in(template: LaunchTemplate, version: str) -> int:
    if version == LATEST:
        return template.latest_version_number
    return template.default_version_number if version == DEFAULT else read_number(version)


def get_version(session: Session, template: LaunchTemplate, version: str) -> LaunchTemplateVersion:
    """Return the version that a number, $Latest or $Default means."""
    number = _number_in(template, version)
    found = session.get(LaunchTemplateVersion, (template.launch_template_id, number))
    if found is None:
        raise template_errors.version_not_found(number, template.launch_template_id)
    return found


def list_versions(
    session: Session,
    template: LaunchTemplate,
    versions: Sequence[str] = (),
    *,
    at_least: int | None = None,
    at_most: int | None = None,
) -> list[LaunchTemplateVersion]:
    """Return a template's versions, the newest first, or those named (all of them must exist), within bounds.

    Without their data: ``VersionData`` has it.
    """
    number = LaunchTemplateVersion.version_number
    query = sa.select(LaunchTemplateVersion).options(_WITHOUT_DATA).order_by(number.desc())
    query = query.where(LaunchTemplateVersion.launch_template_id == template.launch_template_id)
    wanted = {_number_in(template, version) for version in versions}
    if wanted:
        query = query.where(number.in_(wanted))
        missing = wanted - {one.version_number for one in session.scalars(query)}
        if missing:
            raise template_errors.version_not_found(min(missing), template.launch_template_id)
    query = query.where(number >= at_least) if at_least is not None else query
    query = query.where(number <= at_most) if at_most is not None else query
    return list(session.scalars(query))


def list_versions_of_all(
    session: Session, account_id: str, versions: Iterable[str]
) -> list[tuple[LaunchTemplate, LaunchTemplateVersion]]:
    """Return the latest or the default version, or both, of each of the account's templates, without their data."""
    columns = {LATEST: LaunchTemplate.latest_version_number, DEFAULT: LaunchTemplate.default_version_number}
    query = (
        sa.select(LaunchTemplate, LaunchTemplateVersion)
        .options(_WITHOUT_DATA)
        .join(LaunchTemplateVersion, LaunchTemplateVersion.launch_template_id == LaunchTemplate.launch_template_id)
        .where(LaunchTemplate.account_id == account_id)
        .where(sa.or_(*(LaunchTemplateVersion.version_number == columns[one] for one in versions)))
        .order_by(
            LaunchTemplate.created_at, LaunchTemplate.launch_template_id, LaunchTemplateVersion.version_number.desc()
        )
    )
    return [(template, version) for template, version in session.execute(query)]


class VersionData:
    """The data of many versions, of which a few are held at a time: read it in the order they are given in."""

    def __init__(self, session: Session, versions: Iterable[LaunchTemplateVersion]) -> None:
        self._session = session
        self._keys = [(one.launch_template_id, one.version_number) for one in versions]
        self._places = {key: place for place, key in enumerate(self._keys)}
        self._held: dict[tuple[str, int], dict[str, Any]] = {}

    def of(self, version: LaunchTemplateVersion) -> dict[str, Any]:
        """One version's data, as it was given."""
        key = (version.launch_template_id, version.version_number)
        if key not in self._held:
            place = self._places[key]
            self._held = self._read(self._keys[place : place + _READ_AT_ONCE])
        return template_data.given(self._held[key])

    def _read(self, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], dict[str, Any]]:
        columns = (LaunchTemplateVersion.launch_template_id, LaunchTemplateVersion.version_number)
        # Columns, not rows: the session would keep those.
        query = sa.select(*columns, LaunchTemplateVersion.data).where(sa.tuple_(*columns).in_(keys))
        return {(template_id, number): data for template_id, number, data in self._session.execute(query)}


def images_named(session: Session, template: LaunchTemplate, depth: int) -> list[str]:
    """The ImageIds in the data of a template's newest versions."""
    query = (
        sa.select(LaunchTemplateVersion.data["ImageId"].as_string())
        .where(LaunchTemplateVersion.launch_template_id == template.launch_template_id)
        .order_by(LaunchTemplateVersion.version_number.desc())
        .limit(depth)
    )
    return [image_id for image_id in session.scalars(query) if image_id is not None]


def set_default(session: Session, template: LaunchTemplate, version: str) -> None:
    """Make a version the one that is used when none is named."""
    template.default_version_number = get_version(session, template, version).version_number


def delete_versions(session: Session, template: LaunchTemplate, numbers: Iterable[int]) -> list[Deletion]:
    """Delete what can be deleted, and say of each number what became of it."""
    done = [_delete_version(session, template, number) for number in dict.fromkeys(numbers)]
    session.flush()
    rest = sa.select(sa.func.max(LaunchTemplateVersion.version_number)).where(
        LaunchTemplateVersion.launch_template_id == template.launch_template_id
    )
    template.latest_version_number = session.scalars(rest).one()
    return done


def _delete_version(session: Session, template: LaunchTemplate, number: int) -> Deletion:
    this = (
        LaunchTemplateVersion.launch_template_id == template.launch_template_id,
        LaunchTemplateVersion.version_number == number,
    )
    # What is kept is ASCII: as many bytes as characters.
    size = session.scalar(sa.select(sa.func.length(sa.cast(LaunchTemplateVersion.data, sa.String))).where(*this))
    if size is None:
        return Deletion(version_number=number, refused=NotDeleted.UNKNOWN)
    if number == template.default_version_number:
        return Deletion(version_number=number, refused=NotDeleted.IS_DEFAULT)
    session.execute(sa.delete(LaunchTemplateVersion).where(*this))
    template.data_bytes -= size
    return Deletion(version_number=number, refused=None)


def delete(session: Session, template: LaunchTemplate) -> None:
    """Delete a template with all its versions; instances launched from it stay as they are."""
    session.execute(
        sa.delete(LaunchTemplateVersion).where(LaunchTemplateVersion.launch_template_id == template.launch_template_id)
    )
    tags.delete_tags_of(session, template.launch_template_id)
    session.delete(template)
    session.flush()
