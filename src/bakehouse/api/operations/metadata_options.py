"""How the metadata service answers an instance, and what an account's launches in a region begin with."""

from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.registry import operation
from bakehouse.domain import instances, metadata_options

_OPTIONS = ("HttpEndpoint", "HttpPutResponseHopLimit", "HttpTokens", "InstanceMetadataTags")


@operation(
    "ec2",
    "ModifyInstanceMetadataOptions",
    mutates=True,
    honours=("InstanceId", *_OPTIONS),
    harmless={"HttpProtocolIpv6": ("disabled",)},
)
def modify_instance_metadata_options(context: RequestContext, request: Parameters) -> Reply:
    """Change how the metadata service answers; it takes effect at the guest's next request."""
    instance = instances.get(context.session, context.account_id, request["InstanceId"])
    changes = {name: request[name] for name in _OPTIONS if name in request}
    metadata_options.change(context.session, instance, changes)
    return {
        "InstanceId": instance.instance_id,
        "InstanceMetadataOptions": {"State": "applied", **instance.metadata_options},
    }


@operation("ec2", "GetInstanceMetadataDefaults", mutates=False)
def get_instance_metadata_defaults(context: RequestContext, request: Parameters) -> Reply:
    """What is set; options without a preference are left out."""
    del request
    chosen = metadata_options.account_defaults(context.session, context.account_id)
    return {"AccountLevel": {"ManagedBy": "account", **chosen}}


@operation(
    "ec2",
    "ModifyInstanceMetadataDefaults",
    mutates=True,
    honours=_OPTIONS,
    harmless={"HttpTokensEnforced": ("disabled", "no-preference")},
)
def modify_instance_metadata_defaults(context: RequestContext, request: Parameters) -> Reply:
    """Set what launches that say nothing else are given from now on."""
    changes = {name: request[name] for name in _OPTIONS if name in request}
    metadata_options.change_account_defaults(context.session, context.account_id, changes)
    return {"Return": True}
