"""Which public addresses are given out: of one that is taken nobody else is given anything."""

from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from bakehouse.database.models import RestingAddress
from bakehouse.domain import addresses, elastic_addresses
from bakehouse.errors import ApiError
from tests.framework.rows import ACCOUNT, OTHER, session_of_two_accounts

SMALL = IPv4Network("127.99.0.0/29")  # six addresses


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with session_of_two_accounts(tmp_path) as opened:
        yield opened


def test_no_address_is_given_out_that_is_allocated_or_not_yet_let_go_of(session: Session) -> None:
    session.info["region"] = "eu-west-1"
    first = elastic_addresses.allocate(session, ACCOUNT, SMALL).public_ip
    session.info["region"] = "us-east-1"
    taken = {first}
    for number in range(3):
        taken.add(elastic_addresses.allocate(session, (ACCOUNT, OTHER)[number % 2], SMALL).public_ip)
    resting = next(str(host) for host in SMALL.hosts() if str(host) not in taken)
    session.add(RestingAddress(vpc_id="vpc-1", public_ip=resting))
    session.flush()
    left = {str(host) for host in SMALL.hosts()} - taken - {resting}
    assert len(left) == 1
    assert {addresses.allocate_public_ip(session, SMALL) for _ in range(20)} == left
    elastic_addresses.allocate(session, OTHER, SMALL)
    with pytest.raises(ApiError, match="InsufficientAddressCapacity"):
        addresses.allocate_public_ip(session, SMALL)


def test_the_limit_is_an_accounts_in_one_region(session: Session) -> None:
    many = IPv4Network("127.99.0.0/24")
    for _ in range(elastic_addresses.MAX_ADDRESSES):
        elastic_addresses.allocate(session, ACCOUNT, many)
    with pytest.raises(ApiError, match="AddressLimitExceeded"):
        elastic_addresses.allocate(session, ACCOUNT, many)
    assert elastic_addresses.allocate(session, OTHER, many)
    session.info["region"] = "eu-west-1"
    assert elastic_addresses.allocate(session, ACCOUNT, many)
