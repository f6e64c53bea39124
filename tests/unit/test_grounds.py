"""The grounds on which services of the tests settle."""

from ipaddress import IPv4Network

from bakehouse.settings import Settings
from tests.framework.grounds import claimed_ground


def test_two_services_never_share_uids_or_public_addresses() -> None:
    users = Settings.from_environment({})
    with claimed_ground() as one, claimed_ground() as two:
        first, second = (Settings.from_environment(ground.variables) for ground in (one, two))
        for own, other in ((first, second), (first, users), (second, users)):
            assert not own.public_network.overlaps(other.public_network)
            assert abs(own.uid_base - other.uid_base) >= 2 * 65536
            assert own.public_network.subnet_of(IPv4Network("127.0.0.0/8"))
