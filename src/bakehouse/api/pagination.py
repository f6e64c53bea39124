"""NextToken and MaxResults, solved once.

Invariant: a token is good only for the account, operation and parameters it was made for, and only if this
service made it: it carries an HMAC.

An operation declares how it is cut and returns its whole list, always in the same order::

    @operation("ec2", "DescribeImages", mutates=False, honours=("ImageIds",),
               paged=Paged(result="Images", key="ImageId", ids=("ImageIds",)))
    def describe_images(context, request):
        return {"Images": [... every image, in a stable order ...]}

``key`` says where the next page starts even when items before it came or went between two calls. Only a list of
mere texts has none: each tells itself apart.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bakehouse import errors
from bakehouse.api.digests import digest_parameters
from bakehouse.api.models import MemberNames
from bakehouse.errors import ApiError

_MAC_BYTES = 16
_EC2_NAMES = MemberNames()


@dataclass(frozen=True, kw_only=True)
class Paged:
    """How one operation is cut into pages.

    ``result`` names the list in the reply, or several that are cut as if they were one. ``minimum`` and ``maximum``
    bound MaxResults. ``ids`` names the parameters that cannot be given together with MaxResults (EC2:
    InvalidParameterCombination). ``key`` names the members that identify an item. ``clamps``: a greater MaxResults is
    lowered, not refused (DescribeSnapshots). ``default`` is the size of a page when none is asked for; EC2's lists have
    none and come whole, but for one whose items can be large.
    """

    result: str | tuple[str, ...]
    minimum: int = 5
    maximum: int = 1000
    ids: tuple[str, ...] = ()
    key: str | tuple[str, ...] = ()
    clamps: bool = False
    default: int | None = None

    @property
    def results(self) -> tuple[str, ...]:
        """The lists in the reply."""
        return (self.result,) if isinstance(self.result, str) else self.result

    def check(self, parameters: Mapping[str, Any], names: MemberNames = _EC2_NAMES) -> None:
        """Refuse a MaxResults that is out of bounds, or given together with ids."""
        size = parameters.get(names.max_results)
        if size is None:
            return
        for name in self.ids:
            if parameters.get(name):
                message = f"The parameter {name} cannot be used with the parameter MaxResults"
                raise errors.invalid_parameter_combination(message)
        if size < self.minimum:
            raise _out_of_bounds(size, f"greater than or equal to {self.minimum}")
        if size > self.maximum and not self.clamps:
            raise _out_of_bounds(size, f"less than or equal to {self.maximum}")

    def identify(self, item: Mapping[str, Any] | str) -> str:
        """Return what tells this item from the others, as text."""
        if isinstance(item, str):
            return item
        names = (self.key,) if isinstance(self.key, str) else self.key
        return json.dumps([str(item.get(name)) for name in names])


def _out_of_bounds(size: int, bound: str) -> ApiError:
    return errors.invalid_value_for("maxResults", size, f"Expecting a value {bound}.")


class Pages:
    """Cuts replies into pages; ``key`` (at least 16 secret bytes) authenticates the tokens."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def cut(
        self,
        paged: Paged,
        scope: Sequence[str],
        parameters: Mapping[str, Any],
        reply: dict[str, Any],
        names: MemberNames = _EC2_NAMES,
    ) -> None:
        """Leave one page in ``reply`` and write its NextToken.

        ``scope`` is what a token is bound to besides the parameters: account, service, operation. Raises
        InvalidPaginationToken for any other token.
        """
        token, size = parameters.get(names.next_token), parameters.get(names.max_results, paged.default)
        if names.is_truncated is not None:
            reply[names.is_truncated] = False
        if token is None and size is None:
            return
        # What may differ between the calls for two pages of one list.
        not_bound = (names.max_results, names.next_token)
        rest = {name: value for name, value in parameters.items() if name not in not_bound}
        bound = json.dumps([*scope, digest_parameters(rest)]).encode()
        places = [(name, item) for name in paged.results for item in reply.get(name, ())]
        items = [item for _, item in places]
        start = self._find_start(paged, bound, token, items) if token is not None else 0
        end = len(items) if size is None else start + min(size, paged.maximum)
        for name in paged.results:
            reply[name] = [item for place, item in places[start:end] if place == name]
        if end < len(items):
            position = json.dumps([end, paged.identify(items[end - 1])])
            reply[names.next_token] = self._seal(position.encode(), bound)
            if names.is_truncated is not None:
                reply[names.is_truncated] = True

    def _find_start(self, paged: Paged, bound: bytes, token: str, items: Sequence[Mapping[str, Any] | str]) -> int:
        count, last = json.loads(self._open(token, bound))
        if 0 < count <= len(items) and paged.identify(items[count - 1]) == last:
            return int(count)
        found = (index for index, item in enumerate(items) if paged.identify(item) == last)
        return next(found, min(count, len(items)) - 1) + 1

    def _sign(self, position: bytes, bound: bytes) -> bytes:
        message = len(position).to_bytes(4, "big") + position + bound
        return hmac.digest(self._key, message, hashlib.sha256)[:_MAC_BYTES]

    def _seal(self, position: bytes, bound: bytes) -> str:
        # The plain alphabet: it is what rbin's model allows a token to have.
        return base64.b64encode(self._sign(position, bound) + position).decode("ascii")

    def _open(self, token: str, bound: bytes) -> bytes:
        try:
            raw = base64.b64decode(token, validate=True)
        except (binascii.Error, ValueError):
            raise errors.invalid_pagination_token() from None
        mac, position = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._sign(position, bound)):
            raise errors.invalid_pagination_token()
        return position
