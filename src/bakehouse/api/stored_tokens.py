"""Client tokens kept as rows, in the transaction that does the work."""

from sqlalchemy.orm import Session

from bakehouse.api.client_tokens import Remembered, TokenKey
from bakehouse.database.models import ClientToken


class StoredTokens:
    """Implements ``client_tokens.ClientTokens``; a writing transaction excludes others by itself."""

    def find(self, session: Session, key: TokenKey) -> Remembered | None:
        """Return what was remembered."""
        row = session.get(ClientToken, (key.account_id, f"{key.region}/{key.operation}", key.token))
        return Remembered(request_digest=row.request_digest, response=row.response) if row else None

    def remember(self, session: Session, key: TokenKey, remembered: Remembered) -> None:
        """Remember a reply."""
        session.add(
            ClientToken(
                account_id=key.account_id,
                operation=f"{key.region}/{key.operation}",
                token=key.token,
                request_digest=remembered.request_digest,
                response=remembered.response,
            )
        )
