"""Settings from the environment: what cannot be meant is refused, naming its variable."""

import pytest

from bakehouse.settings import Settings


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("LISTEN_PORT", "http"),
        ("LISTEN_PORT", "65536"),
        ("LISTEN_PORT", "-1"),
        ("REGIONS", "us-east-1,a b"),
        ("REGIONS", "us-east-1/../x"),
        ("ACCELERATOR", "hax"),
        ("DATABASE_URL", "mysql://x/y"),
        ("PUBLIC_NETWORK", "127.66.0.1/16"),
        ("UID_BASE", "0"),
        ("UID_BASE", "4294967295"),
        ("RESERVED_MEMORY_MIB", "-5"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(variable: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^BAKEHOUSE_{variable}: "):
        Settings.from_environment({f"BAKEHOUSE_{variable}": text})


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("LISTEN_PORT", "0"),
        ("ACCELERATOR", "kvm"),
        ("DATABASE_URL", "postgresql+psycopg://u:p@h/d"),
        ("DATABASE_URL", "sqlite:////tmp/x.db"),
        ("UID_BASE", "100000"),
    ],
)
def test_a_value_that_can_be_meant_is_taken(variable: str, text: str) -> None:
    settings = Settings.from_environment({f"BAKEHOUSE_{variable}": text})
    assert str(getattr(settings, variable.lower())) == text


def test_an_empty_value_is_as_good_as_none() -> None:
    assert Settings.from_environment({"BAKEHOUSE_LISTEN_PORT": ""}).listen_port == 4566


def test_regions_are_a_list_whose_first_is_home() -> None:
    settings = Settings.from_environment({"BAKEHOUSE_REGIONS": "us-gov-west-1, eu-west-1,us-gov-west-1"})
    assert settings.regions == ("us-gov-west-1", "eu-west-1")
    assert settings.region == "us-gov-west-1"
