"""The errors of ModifyVolume and DescribeVolumesModifications.

Unless a docstring says otherwise the code is documented in the EC2 Developer Guide, "Error codes for the Amazon EC2
API"; the wording follows what EC2 is seen to answer.
"""

from bakehouse.errors import ApiError


def incorrect_modification_state(volume_id: str, state: str) -> ApiError:
    """An earlier modification is under way."""
    message = f"Volume {volume_id} cannot be modified in modification state {state.upper()}"
    return ApiError("IncorrectModificationState", message)


def modification_not_found(volume_id: str) -> ApiError:
    """The volume has never been modified. The code is what clients of EC2 match on; the guide does not list it."""
    return ApiError("InvalidVolumeModification.NotFound", f"Modification for volume '{volume_id}' does not exist.")
