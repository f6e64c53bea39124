"""What requests are done to, as policies name it; found in the registry, so that a new parameter is covered."""

from bakehouse.api import targets
from tests.framework.naming import NAMINGS, NEW_NAMES, ONLY_MENTIONED

# Decided by the operation, with the defaults: see launch_authorization.py.
DECIDED_THERE = {"RunInstances"}


def test_every_parameter_that_names_a_resource_is_one_that_policies_can_speak_of() -> None:
    missing = {
        f"{naming.operation} {naming.path}"
        for naming in NAMINGS
        if not naming.operation.startswith(("Describe", "Get"))
        and naming.operation not in DECIDED_THERE
        and (naming.operation, naming.path) not in NEW_NAMES
        and not is_known(naming.operation, naming.path)
    }
    assert not missing


def is_known(operation: str, path: str) -> bool:
    top = path.partition(".")[0].removesuffix("[]")
    if top in ONLY_MENTIONED or path in targets._EC2_NESTED.get(operation, ()):
        return True
    return top in targets._EC2_MEMBERS or top in targets._EC2_SOURCES or top in targets._EC2_NAMES or top == "Resources"
