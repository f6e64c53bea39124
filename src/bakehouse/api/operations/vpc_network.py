"""What several operations end with: the VPC's network must follow the rows they changed."""

from bakehouse.api.context import RequestContext
from bakehouse.domain import instances


def apply_network(context: RequestContext, *vpc_ids: str) -> None:
    """Enqueue ``apply_firewall``: groups, memberships and public addresses as this transaction leaves them."""
    for vpc_id in dict.fromkeys(vpc_ids):
        context.host.enqueue(
            context.session,
            "apply_firewall",
            vpc_id,
            key=vpc_id,
            workflow_id=f"apply_firewall-{vpc_id}-{instances.new_token()}",
        )
