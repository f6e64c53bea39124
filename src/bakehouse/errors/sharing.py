"""EC2's errors about sharing images and snapshots. Codes as in bakehouse/errors unless a docstring says otherwise."""

from bakehouse.errors import ApiError

# EC2 writes this one.
_APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"


def item_invalid(item: str, kind: str) -> ApiError:
    """A launch permission for what is no account, organization, unit or ``all``.

    Words: packer issue 1068, packer-plugin-amazon issue 156.
    """
    message = f'Invalid attribute item value "{item[:200]}" for {kind} item type.'
    return ApiError("InvalidAMIAttributeItemValue", message)


def public_image_blocked() -> ApiError:
    """Block public access is on. Words: deepracer-on-the-spot issue 106, cloudbreak-images pull request 926."""
    return ApiError(
        "OperationNotPermitted",
        f"You can{_APOSTROPHE}t publicly share this image because block public access for AMIs is enabled for this "
        "account. To publicly share the image, you must call the DisableImageBlockPublicAccess API.",
    )


def public_snapshot_blocked() -> ApiError:
    """The same for a snapshot."""
    return ApiError(
        "OperationNotPermitted",
        f"You can{_APOSTROPHE}t publicly share this snapshot because block public access for snapshots is enabled "
        "for this account. To publicly share the snapshot, you must call the DisableSnapshotBlockPublicAccess API.",
    )


def public_image_with_product_codes(image_id: str) -> ApiError:
    """EC2 API Reference, ModifyImageAttribute: images with a product code cannot be made public."""
    return ApiError("OperationNotPermitted", f"The image '{image_id}' has product codes and cannot be public.")


def public_snapshot_with_product_codes(snapshot_id: str) -> ApiError:
    """EC2 API Reference, ModifySnapshotAttribute: nor can snapshots."""
    return ApiError("OperationNotPermitted", f"The snapshot '{snapshot_id}' has product codes and cannot be public.")


def too_many_grantees(resource_id: str, limit: int) -> ApiError:
    """EC2's quota of accounts, organizations and units that one image or snapshot is shared with."""
    return ApiError("ResourceLimitExceeded", f"'{resource_id}' can be shared with at most {limit} others.")


def not_shared_with(image_id: str, account_id: str) -> ApiError:
    """Nothing names the account itself: the image is its own, public, or shared with its organization."""
    message = f"The image '{image_id}' is not shared with the account {account_id} itself."
    return ApiError("OperationNotPermitted", message)


def snapshot_group_invalid(group: str) -> ApiError:
    """A permission for a group that is not ``all``."""
    return ApiError("InvalidParameterValue", f'Invalid attribute item value "{group[:200]}" for userGroup item type.')


def user_malformed(user: str) -> ApiError:
    """What is no account where one must be named."""
    return ApiError("InvalidUserID.Malformed", f'Invalid user id: "{user[:200]}"')


def product_code_invalid(code: str) -> ApiError:
    """Not the form of a product code."""
    return ApiError("InvalidProductInfo", f"The product code '{code[:100]}' is not valid.")
