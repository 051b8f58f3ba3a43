"""Versions come and go under load: every answer is the one of the version it names, and none fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from serving.local_server.batching import BatchingOptions
from serving.local_server.policy import VersionPolicy
from serving.local_server.server import LocalServer
from tests.serving.local_server.asking import Asker, until

THREADS = 8
SWAPS = 12


@pytest.mark.parametrize("batching", [None, BatchingOptions(timeout_seconds=0.002)], ids=["alone", "batched"])
def test_no_error_and_no_score_of_another_version(folder, expected, batching):
    folder.add(10, model=1)
    stop = Event()

    def ask(target):
        answers = []
        with Asker(target) as asker:
            while not stop.is_set():
                version, outputs = asker.predict()
                answers.append((version, outputs["score"]))
        return answers

    with LocalServer(folder.path, policy=VersionPolicy(), batching=batching, poll_seconds=0.05) as server:
        with ThreadPoolExecutor(THREADS) as pool:
            asking = [pool.submit(ask, server.target) for _ in range(THREADS)]
            try:
                for number in range(11, 11 + SWAPS):
                    folder.add(number, model=number % 3 + 1)
                    until(lambda number=number: server.available == [number])
                    folder.remove(number - 1)
            finally:
                stop.set()
        answers = [answer for future in asking for answer in future.result()]
    assert len({version for version, _ in answers}) > SWAPS // 2
    for version, scores in answers:
        np.testing.assert_allclose(scores, expected[1 if version == 10 else version % 3 + 1], atol=1e-6)
