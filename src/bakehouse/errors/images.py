"""What EC2 answers about images' copies and their life cycle."""

from bakehouse.errors import ApiError


def storage_not_readable() -> ApiError:
    """CopyImage of a shared image whose snapshots are not shared; seen in many issues, DetectionLab 422 for one."""
    return ApiError("InvalidRequest", "You do not have permission to access the storage of this ami")


def source_region_invalid(region: str) -> ApiError:
    """A region this service is not."""
    return ApiError("InvalidParameterValue", f"Invalid source region: {region[:64]}")
