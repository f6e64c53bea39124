"""Product codes: they mark an image that is sold, and go with whatever is made of it.

Invariant: a code is never taken back; an image or a snapshot that has one is not public. What an image has and what
the snapshots under it have count alike: the bytes are what is sold.
Form: EC2 API Reference, "ImageCriterionRequest" (MarketplaceProductCodes).
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import Image, ImageSnapshot, Snapshot
from bakehouse.database.session import everywhere
from bakehouse.domain.snapshots import snapshot_ids_of
from bakehouse.errors import sharing as refusals

# A code in the API's shape: {"ProductCodeId": ..., "ProductCodeType": "marketplace"}.
ProductCode = dict[str, Any]

_CODE = re.compile(r"[A-Za-z0-9]{1,25}")


def is_product_code(text: str) -> bool:
    """Tell whether it has the form of a product code."""
    return _CODE.fullmatch(text) is not None


def merge(*lists: Iterable[Mapping[str, Any]]) -> list[ProductCode]:
    """All of them, each once, by name."""
    found = {code["ProductCodeId"]: dict(code) for codes in lists for code in codes}
    return [found[name] for name in sorted(found)]


def of_snapshots(session: Session, snapshot_ids: Collection[str]) -> list[ProductCode]:
    """The codes of some snapshots, in whatever region they are."""
    if not snapshot_ids:
        return []
    query = everywhere(sa.select(Snapshot.product_codes).where(Snapshot.snapshot_id.in_(snapshot_ids)))
    return merge(*session.scalars(query))


def of_image(session: Session, image: Image) -> list[ProductCode]:
    """The codes of an image and of the snapshots under it, which may have got some since it was made."""
    return merge(image.product_codes, of_snapshots(session, snapshot_ids_of(image)))


def add(session: Session, image: Image, codes: Iterable[str]) -> None:
    """Give an image codes for ever, its owner's snapshots under it too, and whatever else the owner has over those.

    What can still come out of the recycle bin is among that.
    """
    new = []
    for code in codes:
        if not is_product_code(code):
            raise refusals.product_code_invalid(code)
        new.append({"ProductCodeId": code, "ProductCodeType": "marketplace"})
    query = sa.select(Snapshot).where(
        Snapshot.snapshot_id.in_(snapshot_ids_of(image)), Snapshot.account_id == image.account_id
    )
    under = list(session.scalars(query))
    over = [image, *_others_over(session, image, under)]
    for each in over:
        if each.is_public:
            raise refusals.public_image_with_product_codes(each.image_id)
    for snapshot in under:
        if snapshot.is_public:
            raise refusals.public_snapshot_with_product_codes(snapshot.snapshot_id)
    sold: list[Image | Snapshot] = [*over, *under]
    for one in sold:
        one.product_codes = merge(one.product_codes, new)


def _others_over(session: Session, image: Image, snapshots: Iterable[Snapshot]) -> Iterable[Image]:
    """The owner's other images over some of these snapshots, deregistered ones too."""
    over = sa.select(ImageSnapshot.image_id).where(
        ImageSnapshot.snapshot_id.in_([one.snapshot_id for one in snapshots])
    )
    query = sa.select(Image).where(Image.image_id.in_(over), Image.image_id != image.image_id)
    return session.scalars(query.where(Image.account_id == image.account_id)).all()
