"""Session tokens of the metadata service's version 2.

Invariant: a token is good for the instance it was made for, until it expires, and nothing is remembered for
it, so a guest that asks for millions costs nothing. A new service has a new key: clients ask again (401).
"""

import hmac
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

LONGEST_TTL_S = 21600
_EXPIRY_BYTES = 8
_MAC_BYTES = 32


class TokenMint:
    """Makes and checks tokens."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def issue(self, owner: str, ttl_s: int) -> str:
        """A token of 56 characters, for ``owner``."""
        expiry = int(time.time() + ttl_s).to_bytes(_EXPIRY_BYTES, "big")
        return urlsafe_b64encode(expiry + self._mac(owner, expiry) + b"\0\0").decode()

    def is_good(self, token: str, owner: str) -> bool:
        """Tell whether this token was issued to ``owner`` and has not expired."""
        try:
            raw = urlsafe_b64decode(token.encode("ascii"))
        except ValueError:
            return False
        expiry, mac = raw[:_EXPIRY_BYTES], raw[_EXPIRY_BYTES : _EXPIRY_BYTES + _MAC_BYTES]
        if not hmac.compare_digest(mac, self._mac(owner, expiry)):
            return False
        return time.time() < int.from_bytes(expiry, "big")

    def _mac(self, owner: str, expiry: bytes) -> bytes:
        return hmac.new(self._key, owner.encode() + b"\0" + expiry, sha256).digest()
