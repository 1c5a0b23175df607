"""Unit tests reach no network: a socket that is opened fails the test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_socket

from shared.wiring import System, system
from tests.conftest import Aws
from tests.fakes.models import TopicClassifier, TopicEncoder


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    pytest_socket.disable_socket(allow_unix_socket=True)  # event loops wake up through one
    yield
    pytest_socket.enable_socket()


@pytest.fixture
def built(aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[System]:
    """The process's system on the in-process AWS, with models that a test can foresee."""
    environment = {
        "STAGE": "local",
        "TABLE_NAME": aws.table,
        "BUCKET_NAME": aws.bucket,
        "COPY_QUEUE_URL": aws.copy_queue_url,
        "CATALOGUE_QUEUE_URL": aws.catalogue_queue_url,
        "EVENT_QUEUE_URL": aws.event_queue_url,
        "AD_QUEUE_URL": aws.ad_queue_url,
        "CONSENT_BASIS": "asserted",
        "K_FLOOR": "2",
        "EXPLORATION": "0",  # what a test expects is the best
        "ROTATION": "0",
        "PSEUDONYM_KEY_FILE": str(tmp_path / "key"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    system.cache_clear()
    made = system()
    classifier = TopicClassifier()
    fakes = {
        "encoder": TopicEncoder(),
        "classifiers": {"adproduct": classifier, "content": classifier},
        "versions": {"encoder": "topics"},
    }
    for name, fake in fakes.items():
        made.__dict__[name] = fake
    yield made
    system.cache_clear()
