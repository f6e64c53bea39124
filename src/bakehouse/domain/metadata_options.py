"""Instance metadata options: which of what is said of them holds, at launch and later.

Invariant: an instance's options are complete and each has one of EC2's values. What a launch says comes before what
the account has set for the region, and that before what the image asks for. Source: EC2 User Guide, "Order of
precedence for instance metadata options".
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import Image, Instance
from bakehouse.domain import images, region_settings, tags
from bakehouse.domain.instances import State

Options = dict[str, Any]

_DEFAULTS: Options = {
    "HttpTokens": "optional",
    "HttpPutResponseHopLimit": 1,
    "HttpEndpoint": "enabled",
    "HttpProtocolIpv6": "disabled",
    "InstanceMetadataTags": "disabled",
}
_SETTING = "instance-metadata-defaults"
_MOST_HOPS = 64
_NO_PREFERENCE = ("no-preference", -1)
_TAG_KEY = re.compile(r"[0-9a-zA-Z\-_+=,.@:]{1,255}")
_RESERVED_TAG_KEYS = (".", "..", "_index")


def options_at_launch(session: Session, account_id: str, image: Image, wanted: Mapping[str, Any]) -> Options:
    """The options of an instance that is launched from ``image`` with ``wanted`` said of them."""
    _check_hops(wanted)
    of_image = images.metadata_defaults(image)
    return {**_DEFAULTS, **of_image, **account_defaults(session, account_id), **wanted}


def change(session: Session, instance: Instance, changes: Mapping[str, Any]) -> None:
    """Change options of an instance; the metadata service goes by them from its next request on."""
    _check_hops(changes)
    if instance.state in (State.SHUTTING_DOWN, State.TERMINATED):
        raise errors.incorrect_instance_state(instance.instance_id, instance.state, "modified")
    instance.metadata_options = {**instance.metadata_options, **changes}
    own_tags = tags.tags_of(session, instance.account_id, [instance.instance_id])[instance.instance_id]
    check_tag_keys(instance, (tag["Key"] for tag in own_tags))


def check_tag_keys(instance: Instance, keys: Iterable[str]) -> None:
    """Refuse tag keys that could not be a name in the metadata, of an instance that shows its tags there."""
    if instance.metadata_options.get("InstanceMetadataTags") != "enabled":
        return
    for key in keys:
        if not tags.is_reserved(key) and (not _TAG_KEY.fullmatch(key) or key in _RESERVED_TAG_KEYS):
            raise errors.invalid_parameter_value(
                f"'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{{1,255}}), "
                "and must not be a reserved name ('.', '..', '_index')"
            )


def account_defaults(session: Session, account_id: str) -> Options:
    """What the account has set for its launches in the region."""
    found: Options = region_settings.get_setting(session, account_id, _SETTING, {})
    return found


def change_account_defaults(session: Session, account_id: str, changes: Mapping[str, Any]) -> None:
    """Set some; those of no preference (for the hop limit: -1) are no longer set."""
    _check_hops({name: value for name, value in changes.items() if value not in _NO_PREFERENCE})
    merged = {**account_defaults(session, account_id), **changes}
    kept = {name: value for name, value in merged.items() if value not in _NO_PREFERENCE}
    region_settings.put_setting(session, account_id, _SETTING, kept)


def _check_hops(options: Mapping[str, Any]) -> None:
    hops = options.get("HttpPutResponseHopLimit", 1)
    if not 1 <= hops <= _MOST_HOPS:
        raise errors.invalid_value_for("HttpPutResponseHopLimit", hops, f"It is between 1 and {_MOST_HOPS}.")
