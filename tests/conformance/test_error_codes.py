"""Error codes are AWS's: each that is raised anywhere is in the table of sources, and the table has no others."""

from bakehouse.api.protocol import codes
from tests.framework.error_sources import ON_COMMON_PAGES, ON_EC2_PAGE, SEEN, TRANSLATES, raised_codes, source_of

RAISED = list(raised_codes())


def test_every_code_that_is_raised_has_a_source() -> None:
    without = [str(each) for each in RAISED if each.code is not None and source_of(each.code) is None]
    assert not without, "no source in tests/framework/error_sources.py: " + ", ".join(without)


def test_every_code_is_written_out_where_it_is_raised() -> None:
    hidden = [str(each) for each in RAISED if each.code is None and each.path != TRANSLATES]
    assert not hidden


def test_what_the_other_protocols_say_instead_has_a_source_too() -> None:
    translated = {code for table in (codes.QUERY, codes.JSON) for candidates in table.values() for code in candidates}
    assert not {code for code in translated if source_of(code) is None}


def test_no_code_is_listed_twice_and_what_was_only_seen_is_used() -> None:
    assert not ON_EC2_PAGE & ON_COMMON_PAGES
    assert not (ON_EC2_PAGE | ON_COMMON_PAGES) & set(SEEN)
    assert set(SEEN) <= {each.code for each in RAISED}


def test_a_code_of_nobody_is_noticed() -> None:
    assert source_of("InvalidBanana.NotFound") is None
