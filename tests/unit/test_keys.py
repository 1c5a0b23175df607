"""The key of a language model: when it is read, when not, and that it is told to nobody."""

from __future__ import annotations

import threading

import pytest

from shared.errors import ModelUnavailable
from shared.models.keys import WAIT_SECONDS, ApiKey, sendable


class Store:
    """Gives out these keys in turns; None: it is out of reach."""

    def __init__(self, *keys: str | None) -> None:
        self.keys = list(keys)
        self.asked = 0
        self.now = 0.0

    def read(self) -> str:
        self.asked += 1
        key = self.keys.pop(0)
        if key is None:
            raise ModelUnavailable("the store is away")
        return key

    def key(self) -> ApiKey:
        return ApiKey(self.read, clock=lambda: self.now)


def test_it_is_read_at_the_first_request_alone() -> None:
    store = Store("a")
    key = store.key()
    assert store.asked == 0
    assert [key.current() for _ in range(3)] == ["a"] * 3
    assert store.asked == 1


def test_a_store_out_of_reach_is_not_asked_at_every_request() -> None:
    store = Store(None, "a")
    key = store.key()
    for _ in range(5):
        with pytest.raises(ModelUnavailable, match="the store is away"):
            key.current()
    assert store.asked == 1
    store.now = WAIT_SECONDS
    assert key.current() == "a"


def test_a_refused_key_is_read_anew_but_no_sooner_and_only_if_it_is_the_one() -> None:
    store = Store("old", "new")
    key = store.key()
    key.current()
    key.refused("old")
    assert key.current() == "old" and store.asked == 1
    store.now = WAIT_SECONDS
    key.refused("another")
    assert key.current() == "old"
    key.refused("old")
    assert key.current() == "new"
    key.refused("old")  # a late answer
    store.now = 2 * WAIT_SECONDS
    key.refused("old")
    assert key.current() == "new" and store.asked == 2


def test_many_at_once_read_it_once() -> None:
    store = Store("a")
    key = store.key()
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(key.current())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["a"] * 8 and store.asked == 1


@pytest.mark.parametrize("bad", ['{"key": "sk-1"}', "sk-1\r\nX-Other: 1", "sk-…", "two words"])
def test_what_cannot_be_sent_is_not_told(bad: str) -> None:
    with pytest.raises(ModelUnavailable, match="not one that can be sent") as error:
        Store(bad).key().current()
    assert "sk-1" not in error.value.detail and error.value.__cause__ is None


def test_what_stands_around_a_key_is_left_out() -> None:
    assert sendable(" sk-1\n") == "sk-1"
    assert sendable("") == ""
