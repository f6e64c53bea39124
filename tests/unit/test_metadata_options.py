"""Which metadata option holds: the launch's, then the account's, then the image's, then EC2's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from bakehouse.database.models import Image
from bakehouse.domain import metadata_options
from bakehouse.errors import ApiError
from tests.framework.rows import ACCOUNT, OTHER, session_of_two_accounts


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with session_of_two_accounts(tmp_path) as opened:
        yield opened


def launched(session: Session, imds_support: str | None = None, **said: Any) -> tuple[str, int]:
    image = Image(imds_support=imds_support)
    options = metadata_options.options_at_launch(session, ACCOUNT, image, said)
    return options["HttpTokens"], options["HttpPutResponseHopLimit"]


def choose(session: Session, **changes: Any) -> None:
    metadata_options.change_account_defaults(session, ACCOUNT, changes)


def test_what_is_said_first_holds_each_option_for_itself(session: Session) -> None:
    assert launched(session) == ("optional", 1)
    assert launched(session, "v2.0") == ("required", 2)
    assert launched(session, "v2.0", HttpTokens="optional") == ("optional", 2)
    choose(session, HttpTokens="optional")
    assert launched(session, "v2.0") == ("optional", 2)
    choose(session, HttpTokens="no-preference", HttpPutResponseHopLimit=5)
    assert launched(session, "v2.0") == ("required", 5)
    assert launched(session, HttpPutResponseHopLimit=64) == ("optional", 64)
    choose(session, HttpPutResponseHopLimit=-1)
    assert metadata_options.account_defaults(session, ACCOUNT) == {}
    with pytest.raises(ApiError, match="InvalidParameterValue"):
        launched(session, HttpPutResponseHopLimit=65)


def test_a_choice_is_one_accounts_in_one_region(session: Session) -> None:
    choose(session, HttpTokens="required")
    assert metadata_options.account_defaults(session, OTHER) == {}
    session.info["region"] = "eu-west-1"
    assert launched(session) == ("optional", 1)
