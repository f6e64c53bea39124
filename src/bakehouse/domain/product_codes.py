"""Product codes: they mark an image that is sold, and go with whatever is made of it.

Invariant: a code is never taken back; an image or a snapshot that has one is not public.
Form: EC2 API Reference, "ImageCriterionRequest" (MarketplaceProductCodes).
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bakehouse.database.models import Image, Snapshot
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
    """The codes of some snapshots."""
    if not snapshot_ids:
        return []
    query = sa.select(Snapshot.product_codes).where(Snapshot.snapshot_id.in_(snapshot_ids))
    return merge(*session.scalars(query))


def add(session: Session, image: Image, codes: Iterable[str]) -> None:
    """Give an image codes for ever, and its owner's snapshots under it too: its bytes are what is sold."""
    new = []
    for code in codes:
        if not is_product_code(code):
            raise refusals.product_code_invalid(code)
        new.append({"ProductCodeId": code, "ProductCodeType": "marketplace"})
    query = sa.select(Snapshot).where(
        Snapshot.snapshot_id.in_(snapshot_ids_of(image)), Snapshot.account_id == image.account_id
    )
    under = list(session.scalars(query))
    if image.is_public:
        raise refusals.public_image_with_product_codes(image.image_id)
    for snapshot in under:
        if snapshot.is_public:
            raise refusals.public_snapshot_with_product_codes(snapshot.snapshot_id)
        snapshot.product_codes = merge(snapshot.product_codes, new)
    image.product_codes = merge(image.product_codes, new)
