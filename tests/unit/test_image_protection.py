"""An image's protection from being deregistered, and the cooldown that nothing shortens."""

from datetime import timedelta

import pytest

from bakehouse.database.models import Image, now
from bakehouse.domain import image_lifecycle
from bakehouse.errors import ApiError


def image() -> Image:
    return Image(image_id="ami-1", state="available", deregistration_protection="disabled", block_device_mappings=[])


# What is done to the image before its deregistration is tried: protected with a cooldown or without, or not any more.
WITH, WITHOUT, NOT = "with", "without", "not"


def go_through(one: Image, *steps: str) -> None:
    for step in steps:
        if step == NOT:
            image_lifecycle.unprotect(one)
        else:
            image_lifecycle.protect(one, with_cooldown=step == WITH)


@pytest.mark.parametrize(
    "steps",
    [(WITH, NOT), (WITH, NOT, NOT), (WITH, NOT, WITHOUT, NOT), (WITH, WITHOUT, NOT), (WITH, WITH, NOT, WITHOUT, NOT)],
)
def test_after_a_protection_with_a_cooldown_it_lasts_whatever_comes_between(steps: tuple[str, ...]) -> None:
    one = image()
    go_through(one, *steps)
    with pytest.raises(ApiError, match="OperationNotPermitted"):
        image_lifecycle.check_unprotected(one)
    one.protected_until = now() - timedelta(seconds=1)
    image_lifecycle.check_unprotected(one)


def test_a_protection_without_a_cooldown_ends_at_once_and_one_begun_anew_lasts_again() -> None:
    one = image()
    go_through(one, WITHOUT, NOT)
    image_lifecycle.check_unprotected(one)
    go_through(one, WITH, NOT)
    first = one.protected_until
    assert first is not None
    one.protected_until = first - timedelta(hours=1)
    go_through(one, WITH, NOT)
    assert one.protected_until >= first
