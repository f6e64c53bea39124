"""Create, Import, Describe and Delete KeyPair."""

from typing import Any

from bakehouse import errors
from bakehouse.api.context import Parameters, Reply, RequestContext
from bakehouse.api.filters import FilterTable
from bakehouse.api.registry import operation
from bakehouse.database.models import KeyPair
from bakehouse.domain import key_pairs, tags


def _answer(context: RequestContext, pair: KeyPair, request: Parameters) -> dict[str, Any]:
    wanted = tags.tags_for(request.get("TagSpecifications"), "key-pair")
    tags.put_tags(context.session, context.account_id, pair.key_pair_id, "key-pair", wanted)
    return {
        "KeyFingerprint": pair.fingerprint,
        "KeyName": pair.key_name,
        "KeyPairId": pair.key_pair_id,
        "Tags": wanted,
    }


@operation(
    "ec2",
    "CreateKeyPair",
    mutates=True,
    honours=("KeyName", "KeyType", "TagSpecifications"),
    harmless={"KeyFormat": ("pem",)},
)
def create_key_pair(context: RequestContext, request: Parameters) -> Reply:
    """Make a key pair; the private half is in this answer and nowhere else."""
    pair, private = key_pairs.create(
        context.session, context.account_id, request["KeyName"], request.get("KeyType", "rsa")
    )
    return {**_answer(context, pair, request), "KeyMaterial": private}


@operation("ec2", "ImportKeyPair", mutates=True, honours=("KeyName", "PublicKeyMaterial", "TagSpecifications"))
def import_key_pair(context: RequestContext, request: Parameters) -> Reply:
    """Take a public key."""
    pair = key_pairs.import_key(context.session, context.account_id, request["KeyName"], request["PublicKeyMaterial"])
    return _answer(context, pair, request)


@operation(
    "ec2",
    "DescribeKeyPairs",
    mutates=False,
    honours=("KeyNames", "KeyPairIds", "IncludePublicKey"),
    filters=FilterTable(
        item="KeyPairs[]",
        paths={"key-pair-id": "KeyPairId", "key-name": "KeyName", "fingerprint": "KeyFingerprint"},
        tags="Tags",
    ),
)
def describe_key_pairs(context: RequestContext, request: Parameters) -> Reply:
    """List the account's key pairs."""
    found = key_pairs.visible(
        context.session, context.account_id, request.get("KeyNames", ()), request.get("KeyPairIds", ())
    )
    own_tags = tags.tags_of(context.session, context.account_id, [one.key_pair_id for one in found])
    return {
        "KeyPairs": [
            {
                "CreateTime": one.created_at,
                "KeyFingerprint": one.fingerprint,
                "KeyName": one.key_name,
                "KeyPairId": one.key_pair_id,
                "KeyType": one.key_type,
                "PublicKey": one.public_key if request.get("IncludePublicKey") else None,
                "Tags": own_tags.get(one.key_pair_id, []),
            }
            for one in found
        ]
    }


@operation("ec2", "DeleteKeyPair", mutates=True, honours=("KeyName", "KeyPairId"))
def delete_key_pair(context: RequestContext, request: Parameters) -> Reply:
    """Delete a key pair; one that does not exist is fine."""
    if "KeyName" not in request and "KeyPairId" not in request:
        raise errors.missing_parameter("KeyName")
    found = key_pairs.delete(
        context.session,
        context.account_id,
        name=request.get("KeyName"),
        key_pair_id=request.get("KeyPairId"),
    )
    return {"Return": True, "KeyPairId": found.key_pair_id if found else None}
