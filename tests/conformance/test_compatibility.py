"""docs/compatibility.md says what the dispatch table says, and says it of what the gateway does."""

from bakehouse.api.models import get_operation_model
from bakehouse.api.registry import Operation
from bakehouse.api.validation import declared_rules
from tests.conformance.test_operations import over_all
from tests.framework.compatibility import DOCUMENT, refused_paths, write_document
from tests.framework.parameters import honoured_leaves, leaves


def test_the_document_is_what_the_dispatch_table_says_today() -> None:
    assert DOCUMENT.read_text() == write_document(), "stale: run ./bakehouse compatibility"


@over_all
def test_every_parameter_is_either_honoured_or_named(operation: Operation) -> None:
    shape = get_operation_model(operation.service, operation.name).input_shape
    refused = refused_paths(shape, declared_rules(operation))
    honoured = {path for path, _ in honoured_leaves(operation)}
    for path, _ in leaves(shape):
        is_named = any(path == each or path.startswith((f"{each}.", f"{each}[]")) for each in refused)
        ways = [path in honoured, is_named, path in operation.harmless]
        assert any(ways), path
        assert not (is_named and path in honoured), path
