"""The load generator against a server with known latency, known faults and known scores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from serving import contract
from serving.client import ModelNotFound, ServerUnavailable
from serving.client.user import as_user
from serving.load import (
    CallMode,
    LoadOptions,
    MemorySampler,
    VersionSwapper,
    draw_requests,
    golden_users,
    publish_version,
    run_load,
)
from serving.testing import FakeRankingServer, FakeRequest, hash_scorer
from serving.testing.fake_model import FakeStatus

ITEMS = [f"i{number}" for number in range(200)]
REQUESTS = draw_requests(ITEMS, [{"user_id": "u1"}, {"user_id": "u2"}], candidates=7, history=3, count=5)


@pytest.fixture
def server():
    with FakeRankingServer("shop") as fake:
        yield fake


def right_scores(request: int, version: int) -> np.ndarray:
    drawn = REQUESTS[request]
    user = as_user(drawn.user, fill_missing=True)
    return np.array(hash_scorer(FakeRequest(user, drawn.candidates, version, {})), np.float32)


def load(server, **options):
    given = {"expected": right_scores, "on_progress": None}
    given |= {name: options.pop(name) for name in list(given) if name in options}
    return run_load(server.target, "shop", REQUESTS, LoadOptions(**{"warm_up": 0} | options), **given)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_every_request_is_sent_once_and_counted(server, concurrency):
    report = load(server, requests=23, concurrency=concurrency)
    assert server.calls[contract.RANK] == 23
    assert (report.answered, report.failed, report.unsent) == (23, 0, 0)
    assert report.versions == {1: 23}
    assert (report.checked, report.wrong, report.largest_difference) == (23, 0, 0.0)
    assert report.qps == pytest.approx(23 / report.seconds)
    [(signature, totals)] = report.wire.items()
    assert (signature, totals.calls) == (contract.RANK, 23)


def test_the_warm_up_is_asked_and_not_counted(server):
    report = load(server, requests=3, warm_up=9, concurrency=2)
    assert server.calls[contract.RANK] == 12
    assert report.answered == report.wire[contract.RANK].calls == 3


def test_bytes_are_those_of_the_messages(server):
    small = load(server, requests=5).to_json()
    ids = sum(len(item) for request in REQUESTS for item in request.candidates) / len(REQUESTS)
    assert ids < small["request_bytes"] < ids + 300
    # A score is a float32.
    assert 4 * 7 < small["answer_bytes"] < 4 * 7 + 100


def test_latency_is_the_servers(server):
    # A busy machine adds to each answer; the longer one takes, the less that counts.
    for delay in (0.05, 0.5, 5.0):
        server.delay = delay
        report = load(server, requests=12, concurrency=3)
        if report.seconds < 12 * delay:
            break
    assert report.latencies.min() >= delay
    # Three at once, so a third of the time that they took one by one.
    assert report.seconds < 12 * delay
    figures = report.to_json()["latency_ms"]
    assert 1000 * delay <= figures["p50"] <= figures["p95"] <= figures["p99"] <= figures["max"]
    assert figures["p95"] == pytest.approx(1000 * np.percentile(report.latencies, 95), abs=0.001)


def test_a_closed_loop_ends_with_its_time(server):
    server.delay = 0.02
    for seconds in (0.3, 3.0, 30.0):  # the longer, the less it counts that a machine is busy
        server.calls.clear()
        report = load(server, seconds=seconds, concurrency=2)
        if report.seconds < 6 * seconds:
            break
    assert seconds <= report.seconds < 6 * seconds
    assert report.answered == server.calls[contract.RANK] > 0
    assert not report.lateness.any()


def test_an_open_loop_keeps_its_rate(server):
    for rate in (50.0, 5.0, 1.0):  # the slower, the less it counts that a machine is busy
        report = load(server, requests=20, rate=rate, concurrency=4)
        if report.seconds < 75 / rate:
            break
    # The twentieth is due 19 intervals after the first.
    assert 19 / rate <= report.seconds < 75 / rate
    assert report.answered == 20


def test_requests_that_wait_for_a_slow_server_count_from_when_they_were_due(server):
    # 100 a second to a server that answers 20 in a second: the tenth is due after 0.09 s and answered after 0.5.
    server.delay = 0.05
    report = load(server, requests=10, rate=100.0, concurrency=1)
    assert report.latencies[-1] >= 10 * 0.05 - 9 * 0.01
    assert report.lateness[-1] >= 9 * 0.05 - 9 * 0.01
    # A generator that counts from sending would have seen none of it.
    # Medians: a busy machine may keep one request waiting for longer than all the others.
    own = report.latencies - report.lateness
    assert np.median(own) < 0.5 * np.median(report.latencies)


def test_requests_that_were_due_and_never_sent_are_told(server):
    server.delay = 0.05
    report = load(server, seconds=0.4, rate=100.0, concurrency=1)
    assert report.answered + report.unsent == 40
    assert report.unsent > 20


def test_errors_are_counted_by_code():
    codes = ["INTERNAL", "OK", "RESOURCE_EXHAUSTED", "INTERNAL", *["OK"] * 6]

    def scores(request):
        code = codes.pop(0)
        if code != "OK":
            raise FakeStatus(code, f"no answer: {code.lower()}")
        return hash_scorer(request)

    with FakeRankingServer("shop", scorer=scores) as server:
        report = load(server, requests=10)
    assert report.errors == {"INTERNAL": 2, "RESOURCE_EXHAUSTED": 1}
    assert (report.answered, report.failed, len(report.latencies)) == (7, 3, 7)
    assert report.wire[contract.RANK].calls == 7
    assert ["internal" in report.examples[0], "resource_exhausted" in report.examples[1]] == [True, True]
    assert report.to_json()["requests"] == 10


def test_a_server_that_is_not_there_is_an_error_at_once(server):
    with pytest.raises(ModelNotFound):
        run_load(server.target, "other", REQUESTS, LoadOptions(requests=1))
    server.kill()
    with pytest.raises(ServerUnavailable):
        run_load(server.target, "shop", REQUESTS, LoadOptions(requests=1, deadline=30.0))


def test_wrong_scores_are_found(server):
    server.add_version(2, lambda request: [0.5] * len(request.candidates))
    report = load(server, requests=10)
    assert (report.checked, report.wrong) == (10, 10)
    assert report.largest_difference > 0.01
    assert report.examples[0].startswith("scores of request 0 by version 2 differ by 0.")


def test_versions_whose_scores_are_unknown_are_not_checked(server):
    server.add_version(2)
    report = load(server, requests=4, expected=lambda request, version: None)
    assert (report.answered, report.checked, report.wrong) == (4, 0, 0)


@pytest.mark.parametrize("mode", list(CallMode))
def test_versions_that_change_under_load_never_mix(server, mode):
    swapped = []

    def swap(progress):
        version = 2 + len(swapped)
        server.add_version(version)
        server.remove_version(version - 1)
        swapped.append(version)

    server.delay = 0.002
    for seconds in (1.4, 14.0, 140.0):  # a busy machine answers less in the same time
        served = [1, *swapped][-1:]
        report = load(server, seconds=seconds, concurrency=4, mode=mode, on_progress=swap)
        served += swapped[served[0] - 1 :]
        if report.answered > 100 and len(report.versions) >= 3:
            break
    assert report.errors == {}
    assert len(served) >= 3
    assert sorted(report.versions) == served[: len(report.versions)]
    assert len(report.versions) >= 3
    assert report.checked == report.answered == sum(report.versions.values()) > 100
    assert report.wrong == 0
    asked = {CallMode.RANK: {"rank"}, CallMode.KEPT_STATE: {"user_tower", "candidate"}}
    assert set(report.wire) == asked.get(mode, {"rank", "user_tower", "candidate"})


def test_a_kept_state_is_made_once_per_request(server):
    report = load(server, requests=20, mode=CallMode.KEPT_STATE)
    assert report.wire["user_tower"].calls == len(REQUESTS)
    assert report.wire["candidate"].calls == 20


def test_progress_is_told_while_it_runs(server):
    server.delay = 0.01
    for seconds in (1.3, 13.0):  # a busy machine is late, and may answer nothing for half a second
        told = []
        report = load(server, seconds=seconds, on_progress=told.append)
        if len(told) >= 2 and told[0].answered:
            break
    assert 2 <= len(told) <= report.seconds / 0.5
    assert all(progress.seconds >= 0.5 * number for number, progress in enumerate(told, start=1))
    answered = [progress.answered for progress in told]
    assert answered == sorted(answered) and 0 < answered[0] < report.answered
    assert told[0].p50_ms >= 10
    assert told[0].version == 1


def test_ctrl_c_ends_the_run_with_what_came_until_then(server):
    told = []

    def interrupt(progress):
        if progress.answered:
            told.append(progress)
            signal.raise_signal(signal.SIGINT)

    server.delay = 0.01
    report = load(server, seconds=600, rate=50.0, concurrency=4, on_progress=interrupt)
    assert report.to_json()["interrupted"]
    assert 0 < told[0].answered <= report.answered == server.calls[contract.RANK]
    assert report.checked == report.answered
    # Of the 30,000 that would have come, those due until then.
    assert report.answered + report.unsent <= report.seconds * 50 + 1


def test_ctrl_c_during_the_warm_up_is_no_run():
    def scores(request):
        os.kill(os.getpid(), signal.SIGINT)
        return hash_scorer(request)

    with FakeRankingServer("shop", scorer=scores) as server, pytest.raises(KeyboardInterrupt):
        load(server, requests=5, warm_up=5)


def test_a_mistake_in_the_callers_code_ends_the_run(server):
    def broken(request, version):
        raise KeyError("my mistake")

    with pytest.raises(KeyError, match="my mistake"):
        load(server, requests=1000, concurrency=2, expected=broken)


def test_the_report_is_json(server):
    report = json.loads(json.dumps(load(server, requests=5).to_json()))
    assert report["requests"] == report["answered"] == 5
    assert report["errors"] == {}
    assert report["versions"] == {"1": 5}
    assert report["wrong_scores"] == 0
    assert report["generator_cpu"] > 0
    assert report["interrupted"] is False


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "either requests or seconds"),
        ({"requests": 1, "seconds": 1.0}, "either requests or seconds"),
        ({"requests": 1, "rate": 0.0}, "rate must be above 0"),
        ({"requests": 1, "concurrency": 0}, "concurrency must be above 0"),
        ({"seconds": float("inf")}, "seconds must be above 0"),
        ({"requests": 1, "warm_up": -1}, "warm_up must not be negative"),
    ],
)
def test_impossible_options_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        LoadOptions(**options)


def test_requests_have_the_sizes_asked_for():
    drawn = draw_requests(ITEMS, [{"user_id": "u1", "age": 3}], candidates=50, history=10, count=3)
    assert [len(request.candidates) for request in drawn] == [50, 50, 50]
    assert [len(request.user[contract.HISTORY_ITEM_ID]) for request in drawn] == [10, 10, 10]
    assert all(len(set(request.candidates)) == 50 and set(request.candidates) <= set(ITEMS) for request in drawn)
    assert all((request.user["user_id"], request.user["age"]) == ("u1", 3) for request in drawn)
    assert drawn[0] != drawn[1]
    assert drawn == draw_requests(ITEMS, [{"user_id": "u1", "age": 3}], candidates=50, history=10, count=3)


def test_few_items_are_repeated_and_none_are_made_up():
    [drawn] = draw_requests(["a", "b"], [], candidates=5, history=0, count=1)
    assert set(drawn.candidates) <= {"a", "b"}
    assert drawn.user[contract.HISTORY_ITEM_ID] == []
    [made_up] = draw_requests([], [], candidates=5, history=2, count=1)
    assert len(set(made_up.candidates)) == 5


def test_users_are_those_of_the_golden_requests(tmp_path):
    assert golden_users(tmp_path) == []
    user = {"user_id": "u1", "age": None}
    entries = [
        {"request": {**user, "history_item_id": ["a"], "candidate_item_id": ["b"]}},
        {"request": {**user, "history_item_id": [], "candidate_item_id": ["b"], "candidate_content/text": [[0.0]]}},
        {"request": {"user_id": "u2", "age": 3.0, "history_item_id": [], "candidate_item_id": ["c"]}},
    ]
    path = tmp_path / contract.GOLDEN_FILE
    path.parent.mkdir()
    path.write_text(json.dumps(entries))
    assert golden_users(tmp_path) == [user, {"user_id": "u2", "age": 3.0}]


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    return folder


def saved(folder: Path, text: str) -> Path:
    """What stands for an exported model."""
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "index").write_text(text)
    return folder


def test_versions_appear_whole_and_from_their_sources_in_turn(base, tmp_path):
    sources = [saved(tmp_path / name, name) for name in ("one", "other")]
    publish_version(sources[0], base, 1)
    seen = {}

    def is_served(version):
        seen[version] = {
            path.name: (path / "variables" / "index").read_text() for path in base.iterdir() if path.name.isdecimal()
        }
        return True

    with VersionSwapper(base, sources, 0.01, is_served) as swapper:
        while swapper.published < 5:
            time.sleep(0.005)
    assert seen[2] == {"1": "one", "2": "other"}
    assert seen[3] == {"2": "other", "3": "one"}
    assert seen[4] == {"3": "one", "4": "other"}
    assert [swapper.source_of(version) for version in (1, 2, 3)] == [0, 1, 0]
    with pytest.raises(FileExistsError, match=f"version {swapper.published} is already in"):
        publish_version(sources[0], base, swapper.published)


def test_no_version_is_published_before_the_server_has_the_last(base, tmp_path):
    source = saved(tmp_path / "one", "one")
    publish_version(source, base, 1)
    asked = []

    def is_served(version):
        asked.append(version)
        return False

    with VersionSwapper(base, [source], 0.001, is_served) as swapper:
        while len(asked) < 3:
            time.sleep(0.01)
    assert swapper.published == 2
    assert sorted(path.name for path in base.iterdir()) == ["1", "2"]


def test_without_an_interval_nothing_is_published(base, tmp_path):
    with VersionSwapper(base, [saved(tmp_path / "one", "one")], None, lambda version: True) as swapper:
        time.sleep(0.05)
    assert swapper.published == 1
    assert list(base.iterdir()) == []


def test_a_published_version_shares_no_file_that_could_be_written_through(base, tmp_path):
    # Hard links: what is replaced there, as files are, stays as it was in the source.
    source = saved(tmp_path / "one", "one")
    version = publish_version(source, base, 7)
    (version / "variables" / "index").unlink()
    (version / "variables" / "index").write_text("changed")
    assert (source / "variables" / "index").read_text() == "one"


def test_a_swap_that_fails_is_not_silent(base, tmp_path):
    with (
        pytest.raises(FileNotFoundError),
        VersionSwapper(base, [tmp_path / "absent"], 0.01, lambda version: True),
    ):
        time.sleep(0.3)


def test_memory_of_another_process_is_seen_to_grow():
    program = "import sys\nfor line in sys.stdin:\n    kept = bytearray(int(line)); print('held', flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        with MemorySampler(child.pid, every=0.01) as memory:
            while len(memory.samples) < 20:
                time.sleep(0.01)
            child.stdin.write(f"{50_000_000}\n")
            child.stdin.flush()
            child.stdout.readline()
            seen = len(memory.samples)
            while len(memory.samples) < seen + 20:
                time.sleep(0.01)
        figures = memory.figures()
        child.stdin.close()
    assert figures["last_quarter"] - figures["first_quarter"] > 40_000_000
    assert figures["peak"] >= figures["last_quarter"]
    assert MemorySampler(os.getpid()).figures() is None


def test_load_needs_only_what_the_client_needs():
    program = "import serving.load, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"tensorflow", "keras", "tfx", "apache_beam", "dmf_keras", "rich"}.isdisjoint(loaded)
