"""Who asks: an account's root, a user, or a session of a role or a user."""

from dataclasses import dataclass, field
from enum import StrEnum

from bakehouse.domain.iam import names


class PrincipalKind(StrEnum):
    """The values of aws:PrincipalType."""

    ROOT = "Account"
    USER = "User"
    ASSUMED_ROLE = "AssumedRole"


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Whom a key stands for.

    ``arn`` and ``user_id`` are what GetCallerIdentity says; ``policy_arn`` is what policies call it (a role's session
    is its role). ``owner_id`` is the id of the user or role whose policies count; empty for root, which needs none.
    ``session_policies`` narrow a session further.
    """

    kind: PrincipalKind
    account_id: str
    arn: str
    user_id: str
    policy_arn: str
    owner_id: str = ""
    user_name: str | None = None
    is_temporary: bool = False
    session_policies: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_root(self) -> bool:
        """Whether it is the account's administrator by birth."""
        return self.kind is PrincipalKind.ROOT


def root(account_id: str, *, is_temporary: bool = False) -> Principal:
    """The root of an account."""
    arn = names.root_arn(account_id)
    return Principal(
        kind=PrincipalKind.ROOT,
        account_id=account_id,
        arn=arn,
        user_id=account_id,
        policy_arn=arn,
        is_temporary=is_temporary,
    )


# Who has not signed yet: may nothing.
NOBODY = Principal(kind=PrincipalKind.USER, account_id="-", arn="-", user_id="-", policy_arn="-")
