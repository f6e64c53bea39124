"""What EC2 answers about images' copies and their life cycle."""

from datetime import datetime

from bakehouse.errors import ApiError


def storage_not_readable() -> ApiError:
    """CopyImage of a shared image whose snapshots are not shared; seen in many issues, DetectionLab 422 for one."""
    return ApiError("InvalidRequest", "You do not have permission to access the storage of this ami")


def source_region_invalid(region: str) -> ApiError:
    """A region this service is not."""
    return ApiError("InvalidParameterValue", f"Invalid source region: {region[:64]}")


def protected(image_id: str) -> ApiError:
    """DeregisterImage of a protected image. The code is the one of protected instances; EC2 documents none."""
    return ApiError("OperationNotPermitted", f"The image '{image_id}' is protected from deregistration.")


def cooling_down(image_id: str, until: datetime) -> ApiError:
    """DeregisterImage within the cooldown of a protection; as above."""
    return ApiError(
        "OperationNotPermitted",
        f"The image '{image_id}' is protected from deregistration until {until:%Y-%m-%dT%H:%MZ}.",
    )
