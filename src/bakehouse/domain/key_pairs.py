"""Key pairs: real keys and EC2's fingerprints of them.

Fingerprints (EC2 User Guide, "Verify the fingerprint of your key pair"): SHA-1 of the PKCS#8 DER private key
for RSA keys made here, MD5 of the DER public key for imported ones, SHA-256 as OpenSSH prints it for ED25519.
"""

import base64
import hashlib
from collections.abc import Sequence
from contextlib import suppress

import sqlalchemy as sa
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import KeyPair
from bakehouse.domain import tags
from bakehouse.ids import Prefix, new_id

_RSA_BITS = 2048
_IMPORTED_RSA_BITS = (1024, 2048, 4096)
_MAX_NAME = 255


def create(session: Session, account_id: str, name: str, key_type: str) -> tuple[KeyPair, str]:
    """Make a key pair; return its row and the private key, which is kept nowhere."""
    _check_free(session, account_id, name)
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    if key_type == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
        private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
        fingerprint = _openssh_fingerprint(_openssh(key.public_key()))
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
        private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, form.NoEncryption())
        der = key.private_bytes(form.Encoding.DER, form.PrivateFormat.PKCS8, form.NoEncryption())
        fingerprint = _with_colons(hashlib.sha1(der, usedforsecurity=False).hexdigest())
    row = _add(
        session, account_id, name, key_type=key_type, fingerprint=fingerprint, public_key=_openssh(key.public_key())
    )
    return row, private.decode()


def import_key(session: Session, account_id: str, name: str, material: bytes) -> KeyPair:
    """Take a public key in OpenSSH or DER form; InvalidKey.Format for anything else."""
    _check_free(session, account_id, name)
    key = _load_public_key(material)
    openssh = _openssh(key)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return _add(
            session, account_id, name, key_type="ed25519", fingerprint=_openssh_fingerprint(openssh), public_key=openssh
        )
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size not in _IMPORTED_RSA_BITS:
        raise errors.key_format_invalid()
    der = key.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    fingerprint = _with_colons(hashlib.md5(der, usedforsecurity=False).hexdigest())
    return _add(session, account_id, name, key_type="rsa", fingerprint=fingerprint, public_key=openssh)


def visible(session: Session, account_id: str, names: Sequence[str] = (), ids: Sequence[str] = ()) -> list[KeyPair]:
    """The blessed select: the account's key pairs, by name."""
    query = sa.select(KeyPair).where(KeyPair.account_id == account_id).order_by(KeyPair.key_name)
    found = list(session.scalars(query))
    known_names = {one.key_name for one in found}
    known_ids = {one.key_pair_id for one in found}
    for name in names:
        if name not in known_names:
            raise errors.key_pair_not_found(name)
    for key_pair_id in ids:
        if key_pair_id not in known_ids:
            raise errors.key_pair_not_found(key_pair_id)
    if names or ids:
        return [one for one in found if one.key_name in names or one.key_pair_id in ids]
    return found


def get_key_pair(session: Session, account_id: str, name: str) -> KeyPair:
    """Return the account's key pair of this name; InvalidKeyPair.NotFound."""
    return visible(session, account_id, [name])[0]


def delete(session: Session, account_id: str, *, name: str | None, key_pair_id: str | None) -> KeyPair | None:
    """Delete a key pair; one that does not exist is fine. Instances keep the key they were launched with."""
    query = sa.select(KeyPair).where(KeyPair.account_id == account_id)
    query = query.where(KeyPair.key_name == name) if name else query.where(KeyPair.key_pair_id == key_pair_id)
    found = session.scalars(query).first()
    if found is not None:
        tags.delete_tags_of(session, found.key_pair_id)
        session.delete(found)
    return found


def _check_free(session: Session, account_id: str, name: str) -> None:
    if not 0 < len(name) <= _MAX_NAME or not name.isascii() or not name.isprintable():
        raise errors.invalid_value_for("keyName", name[:64], "It has 1 to 255 printable ASCII characters.")
    query = sa.select(KeyPair.key_pair_id).where(KeyPair.account_id == account_id, KeyPair.key_name == name)
    if session.scalars(query).first() is not None:
        raise errors.key_pair_duplicate(name)


def _add(session: Session, account_id: str, name: str, *, key_type: str, fingerprint: str, public_key: str) -> KeyPair:
    row = KeyPair(
        key_pair_id=new_id(Prefix.KEY_PAIR),
        account_id=account_id,
        key_name=name,
        key_type=key_type,
        fingerprint=fingerprint,
        public_key=f"{public_key} {name}",
    )
    session.add(row)
    session.flush()
    return row


def _load_public_key(material: bytes) -> object:
    loaders = (form.load_ssh_public_key, form.load_der_public_key, form.load_pem_public_key)
    candidates = [material]
    with suppress(ValueError):
        # Clients that encode once themselves and once more on the wire.
        candidates.append(base64.b64decode(material, validate=True))
    for candidate in candidates:
        for load in loaders:
            try:
                return load(candidate)
            except (ValueError, UnsupportedAlgorithm):
                continue
    raise errors.key_format_invalid()


def _openssh(key: object) -> str:
    if not isinstance(key, rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        raise errors.key_format_invalid()
    return key.public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH).decode()


def _openssh_fingerprint(public_key: str) -> str:
    return base64.b64encode(hashlib.sha256(base64.b64decode(public_key.split()[1])).digest()).decode()


def _with_colons(digest: str) -> str:
    return ":".join(digest[start : start + 2] for start in range(0, len(digest), 2))
