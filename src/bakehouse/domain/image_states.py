"""The states of an image, and every way from one to another.

Invariant: an image's state changes in ``move`` only, which knows no other ways.
"""

from enum import StrEnum

from bakehouse.database.models import Image


class ImageState(StrEnum):
    """The states an image can be in here; EC2's model has more words."""

    PENDING = "pending"
    AVAILABLE = "available"
    DISABLED = "disabled"
    FAILED = "failed"
    DEREGISTERED = "deregistered"


_WAYS: dict[ImageState, frozenset[ImageState]] = {
    ImageState.PENDING: frozenset({ImageState.AVAILABLE, ImageState.FAILED}),
    ImageState.AVAILABLE: frozenset({ImageState.DISABLED, ImageState.DEREGISTERED}),
    ImageState.DISABLED: frozenset({ImageState.AVAILABLE, ImageState.DEREGISTERED}),
    ImageState.FAILED: frozenset({ImageState.DEREGISTERED}),
    # Out of the recycle bin, as it was before.
    ImageState.DEREGISTERED: frozenset({ImageState.AVAILABLE, ImageState.DISABLED}),
}


def move(image: Image, state: ImageState) -> None:
    """Bring an image into another state; whoever asks has checked that it may be."""
    assert state in _WAYS[ImageState(image.state)], f"{image.image_id} from {image.state} to {state}"
    image.state = state
