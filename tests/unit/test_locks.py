"""Locks by name."""

import threading

import pytest

from bakehouse.host.locks import Locks


def test_a_name_has_one_lock_and_another_name_another() -> None:
    locks = Locks()
    assert locks["a"] is locks["a"]
    assert locks["a"] is not locks["b"]


def test_two_that_ask_first_at_the_same_time_get_the_same_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    locks = Locks()
    make = threading.RLock
    others: list[threading.RLock] = []

    def make_while_another_asks() -> threading.RLock:
        if not others:
            monkeypatch.setattr(threading, "RLock", make)
            others.append(locks["a"])
        return make()

    monkeypatch.setattr(threading, "RLock", make_while_another_asks)
    assert locks["a"] is others[0]
