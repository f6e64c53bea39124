"""Permissions in either of EC2's forms, or in both: all that is named is done, or the request is refused."""

from typing import Any

import pytest

from bakehouse.api.operations.permission_forms import PermissionForms
from bakehouse.errors import ApiError

FORMS = PermissionForms(nested="Permission", flat={"UserIds": "UserId", "Groups": "Group"})
ONE, TWO = {"UserId": "1" * 12}, {"UserId": "2" * 12}
FLAT_ONE = {"UserIds": ["1" * 12]}


@pytest.mark.parametrize(
    ("request_", "add", "remove"),
    [
        ({"Permission": {"Add": [ONE], "Remove": [TWO]}}, [ONE], [TWO]),
        ({**FLAT_ONE, "OperationType": "remove"}, [], [ONE]),
        # As Packer says one change twice.
        ({**FLAT_ONE, "Permission": {"Add": [ONE]}}, [ONE], []),
        (
            {**FLAT_ONE, "Groups": ["all"], "Permission": {"Add": [{**ONE, "Group": "all"}]}},
            [{**ONE, "Group": "all"}],
            [],
        ),
        ({**FLAT_ONE, "Permission": {"Add": [ONE]}, "OperationType": "add"}, [ONE], []),
        ({**FLAT_ONE, "Permission": {"Add": [TWO]}, "OperationType": "remove"}, [TWO], [ONE]),
    ],
    ids=str,
)
def test_both_forms_are_read(request_: dict[str, Any], add: list[Any], remove: list[Any]) -> None:
    assert FORMS.read(request_) == {"add": add, "remove": remove}


@pytest.mark.parametrize(
    ("code", "request_"),
    [
        ("MissingParameter", {}),
        ("MissingParameter", {"OperationType": "add"}),
        ("MissingParameter", {"Permission": {"Add": []}}),
        ("MissingParameter", FLAT_ONE),
        ("MissingParameter", {**FLAT_ONE, "Permission": {"Add": [TWO]}}),
        ("MissingParameter", {**FLAT_ONE, "Groups": ["all"], "Permission": {"Add": [ONE]}}),
        ("InvalidParameterCombination", {"OperationType": "remove", "Permission": {"Add": [ONE]}}),
    ],
    ids=str,
)
def test_what_would_be_passed_over_is_refused(code: str, request_: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match=code):
        FORMS.read(request_)
