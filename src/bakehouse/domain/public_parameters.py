"""The parameters every account can read: under which names the newest base images are found.

Invariant: nothing is stored. What a name says is read from the images of the account ``amazon`` in the region that
asks, so it is never stale and names no image that cannot be launched. Debian's name for its own images is the first;
the other names what this service built last.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import Account, Image
from bakehouse.domain.accounts import AMAZON_ALIAS
from bakehouse.domain.images import AVAILABLE

_NEWEST = "/aws/service/bakehouse/base/latest"
_BASE_IMAGE = re.compile(r"debian-(?P<release>[0-9]+)-amd64-.*")


@dataclass(frozen=True, kw_only=True)
class PublicParameter:
    """A public parameter; its version counts the images it could stand for, of which it names the newest."""

    name: str
    value: str
    version: int
    modified_at: datetime


def list_all(session: Session) -> list[PublicParameter]:
    """Return the public parameters of the transaction's region, by name."""
    images: dict[str, list[Image]] = {}
    for image in _base_images(session):
        for name in _names(image):
            images.setdefault(name, []).append(image)
    return [
        PublicParameter(
            name=name, value=found[-1].image_id, version=len(found), modified_at=max(one.created_at for one in found)
        )
        for name, found in sorted(images.items())
    ]


def find(session: Session, name: str) -> PublicParameter | None:
    """Return the public parameter of this name."""
    return next((one for one in list_all(session) if one.name == name), None)


def _base_images(session: Session) -> Iterator[Image]:
    query = (
        sa.select(Image)
        .join(Account, Account.account_id == Image.account_id)
        .where(
            Account.alias == AMAZON_ALIAS,
            Image.state == AVAILABLE,
            Image.is_public,
            Image.deregistered_at.is_(None),
            Image.name.startswith("debian-"),
        )
        .order_by(Image.created_at, Image.image_id)
    )
    return iter(session.scalars(query))


def _names(image: Image) -> Iterator[str]:
    match = _BASE_IMAGE.fullmatch(image.name)
    if match is not None:
        yield f"/aws/service/debian/release/{match['release']}/latest/amd64"
        yield _NEWEST
