"""Client tokens kept as rows, in the transaction that does the work."""

from sqlalchemy.orm import Session

from bakehouse.api.client_tokens import Remembered, TokenKey
from bakehouse.domain import client_tokens


class StoredTokens:
    """Implements ``client_tokens.ClientTokens``; a writing transaction excludes others by itself."""

    def find(self, session: Session, key: TokenKey) -> Remembered | None:
        """Return what was remembered."""
        known = client_tokens.find(session, _row_key(key))
        if known is None:
            return None
        return Remembered(
            request_digest=known.request_digest, response=known.response, is_launch_over=known.is_launch_over
        )

    def remember(self, session: Session, key: TokenKey, remembered: Remembered) -> None:
        """Remember a reply."""
        assert remembered.response is not None, "what was just answered has not expired"
        client_tokens.remember(session, _row_key(key), remembered.request_digest, remembered.response)


def _row_key(key: TokenKey) -> client_tokens.Key:
    return client_tokens.key_of(key.account_id, key.region, key.operation, key.token)
