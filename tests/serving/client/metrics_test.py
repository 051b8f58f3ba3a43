"""Records of calls, and their Prometheus form."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.client import CallRecord, ClientOptions, PrometheusMetrics, RankingError, RetryOptions
from serving.testing import FakeRankingServer
from tests.serving.client.servers import CLIENTS, FEATURES, MODEL, USER, items


def record(**changes):
    values = {
        "method": "Predict",
        "signature": "rank",
        "model": "demo",
        "version": 3,
        "target": "localhost:8500",
        "code": "OK",
        "seconds": 0.003,
        "attempt": 1,
        "request_bytes": 100,
        "response_bytes": 50,
    }
    return CallRecord(**(values | changes))


def samples(text):
    """Sample name with labels, to value; comments left out."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_nothing_counted_yet():
    assert samples(PrometheusMetrics().render()) == {}


def test_histograms_and_errors_by_signature_and_version():
    metrics = PrometheusMetrics()
    for seconds in (0.0005, 0.003, 0.0049, 0.3, 60.0):
        metrics(record(seconds=seconds))
    metrics(record(version=4))
    metrics(record(code="UNAVAILABLE", version=None))
    found = samples(metrics.render())
    labels = 'model="demo",method="Predict",signature="rank",version="3",outcome="ok"'
    buckets = {"0.001": 1, "0.0025": 1, "0.005": 3, "0.25": 3, "0.5": 4, "10.0": 4, "+Inf": 5}
    assert {le: found[f'dmf_client_call_seconds_bucket{{{labels},le="{le}"}}'] for le in buckets} == buckets
    assert found[f"dmf_client_call_seconds_count{{{labels}}}"] == 5
    assert found[f"dmf_client_call_seconds_sum{{{labels}}}"] == pytest.approx(60.3084)
    assert found[f"dmf_client_call_seconds_count{{{labels.replace('3', '4')}}}"] == 1
    failed = 'model="demo",method="Predict",signature="rank",version=""'
    assert found[f'dmf_client_call_seconds_count{{{failed},outcome="error"}}'] == 1
    assert found[f'dmf_client_call_errors_total{{{failed},code="UNAVAILABLE"}}'] == 1


def test_a_bound_belongs_to_its_bucket():
    metrics = PrometheusMetrics()
    metrics(record(seconds=0.005))
    found = samples(metrics.render())
    assert [value for name, value in found.items() if 'le="0.005"' in name] == [1]


def test_labels_are_escaped():
    metrics = PrometheusMetrics()
    metrics(record(model='a"b\\c\nd'))
    assert 'model="a\\"b\\\\c\\nd"' in metrics.render()


def test_threads_lose_no_count():
    metrics = PrometheusMetrics()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: metrics(record(code="OK" if n % 2 else "INTERNAL")), range(4000)))
    counts = [value for name, value in samples(metrics.render()).items() if "_count{" in name]
    assert counts == [2000, 2000]


def test_every_call_is_recorded(kind):
    seen = []
    with FakeRankingServer(MODEL, features=FEATURES, versions=(5,)) as server:
        target = server.rest_target if kind == "rest" else server.target
        options = ClientOptions(deadline=30.0, on_call=seen.append, retry=RetryOptions(max_attempts=1))
        with CLIENTS[kind](target, MODEL, options) as client:
            client.score(client.encode_user(USER), items(3))
            server.fail("INTERNAL")
            with pytest.raises(RankingError):
                client.rank(USER, items(3))
            client.model_status()
    assert [(call.method, call.signature, call.code) for call in seen] == [
        ("GetModelMetadata", "", "OK"),
        ("Predict", "user_tower", "OK"),
        ("Predict", "candidate", "OK"),
        ("Predict", "rank", "INTERNAL"),
        ("GetModelStatus", "", "OK"),
    ]
    assert {call.version for call in seen[:3]} == {5}
    assert {(call.model, call.target, call.attempt) for call in seen} == {(MODEL, target, 1)}
    assert all(call.seconds > 0 for call in seen)
    assert all(call.request_bytes > 50 and call.response_bytes > 20 for call in seen[1:3])
    assert seen[3].response_bytes == 0
