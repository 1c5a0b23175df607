"""Unit tests reach no network: a socket that is opened fails the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import pytest_socket


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    pytest_socket.disable_socket(allow_unix_socket=True)  # event loops wake up through one
    yield
    pytest_socket.enable_socket()
