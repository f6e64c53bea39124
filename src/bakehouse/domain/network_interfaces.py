"""Network interfaces: who may see them. They come and go with their instances."""

from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.database.models import NetworkInterface
from bakehouse.ids import Prefix, is_well_formed


def get(session: Session, account_id: str, interface_id: str) -> NetworkInterface:
    """Return one of the account's interfaces."""
    if not is_well_formed(Prefix.NETWORK_INTERFACE, interface_id):
        raise errors.network_interface_id_malformed(interface_id)
    found = session.get(NetworkInterface, interface_id)
    if found is None or found.account_id != account_id:
        raise errors.network_interface_not_found(interface_id)
    return found
