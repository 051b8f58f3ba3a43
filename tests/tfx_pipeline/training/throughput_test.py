"""Requests per second of steady steps, by a clock that the test turns."""

from __future__ import annotations

import pytest

from tfx_pipeline.training.callbacks import Throughput


def run(requests: int, batch_size: int, epochs: list[list[float]]) -> float | None:
    """Epochs given as the seconds of each step; between epochs 1000 s pass."""
    time = 0.0
    throughput = Throughput(requests, batch_size, clock=lambda: time)
    for epoch, steps in enumerate(epochs):
        throughput.on_epoch_begin(epoch)
        for batch, seconds in enumerate(steps):
            time += seconds
            throughput.on_train_batch_end(batch)
        time += 1000
    return throughput.requests_per_second


def test_first_steps_and_what_lies_between_epochs_are_left_out():
    assert run(20 * 32, 32, [[50.0] * 10 + [0.5] * 10]) == pytest.approx(64)
    assert run(20 * 32, 32, [[50.0] * 10 + [0.5] * 10, [0.1] * 10 + [0.5] * 10]) == pytest.approx(64)


def test_the_last_batch_counts_as_large_as_it_is():
    assert run(19 * 32 + 16, 32, [[9.0] * 10 + [0.5] * 10]) == pytest.approx((9 * 32 + 16) / 5)


def test_of_a_short_epoch_half_is_left_out():
    assert run(4 * 8, 8, [[7.0, 7.0, 1.0, 1.0]]) == pytest.approx(8)


def test_the_median_epoch_counts():
    epochs = [[1.0, 1.0, second, second] for second in (1.0, 4.0, 2.0)]
    assert run(4 * 8, 8, epochs) == pytest.approx(4)


@pytest.mark.parametrize(
    ("requests", "epochs"), [(8, [[1.0]]), (32, []), (32, [[1.0, 1.0, 1.0]])], ids=["one step", "none", "cut short"]
)
def test_without_a_whole_epoch_there_is_no_figure(requests, epochs):
    assert run(requests, 8, epochs) is None
