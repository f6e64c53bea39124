"""Base images, built on the user's machine from Debian's own archive."""

from bakehouse.guest.base_image.build import (
    BaseImage,
    BaseImageError,
    build_base_image,
    inputs_digest,
    require_programs,
)
from bakehouse.guest.base_image.recipe import (
    DEBIAN_PACKAGES,
    DEBIAN_PACKAGES_WITHOUT_ROOT,
    DEFAULT_RELEASE,
    DEFAULT_USER,
)

__all__ = [
    "DEBIAN_PACKAGES",
    "DEBIAN_PACKAGES_WITHOUT_ROOT",
    "DEFAULT_RELEASE",
    "DEFAULT_USER",
    "BaseImage",
    "BaseImageError",
    "build_base_image",
    "inputs_digest",
    "require_programs",
]
