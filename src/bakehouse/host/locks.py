"""Locks that are made when they are first asked for."""

import threading


class Locks:
    """One re-entrant lock per name. Who asks for a name's lock, and when, makes no difference to which it is."""

    def __init__(self) -> None:
        self._by_name: dict[str, threading.RLock] = {}

    def __getitem__(self, name: str) -> threading.RLock:
        # In one step: of two that ask first at the same time both must get the same lock.
        return self._by_name.setdefault(name, threading.RLock())
