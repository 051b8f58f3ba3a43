"""What a client measures: one record per call to a server, and a Prometheus exposition of them.

TensorFlow Serving's own latency metrics are split neither by signature nor by model version; these are by both.
"""

from __future__ import annotations

import bisect
import dataclasses
import threading

# Seconds. A ranking call of 1200 candidates takes some to some hundred milliseconds.
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclasses.dataclass(frozen=True)
class CallRecord:
    """One call to one server; a retry is a call of its own.

    Attributes:
        method: "Predict", "GetModelMetadata" or "GetModelStatus".
        signature: of a Predict call ("rank", "retrieve", "recommend", "user_tower", "candidate"), else "".
        model: the model's name.
        version: the version that answered, else the one that was asked for, else None.
        target: the server.
        code: "OK" or the name of the gRPC status.
        seconds: from sending to the parsed answer.
        attempt: 1 for the first call, more for retries.
        request_bytes, response_bytes: of the bodies, before compression; no answer has 0.
    """

    method: str
    signature: str
    model: str
    version: int | None
    target: str
    code: str
    seconds: float
    attempt: int
    request_bytes: int
    response_bytes: int


@dataclasses.dataclass
class _Histogram:
    counts: list[int] = dataclasses.field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS) + 1))
    total: float = 0.0


class PrometheusMetrics:
    """Latency histograms and error counts, ready to be scraped; thread-safe, one may serve several clients.

    ```
    metrics = PrometheusMetrics()
    client = RankingClient("localhost:8500", "demo", ClientOptions(on_call=metrics))
    body = metrics.render()  # for the handler of /metrics
    ```
    `dmf_client_call_seconds` is a histogram by model, method, signature, version and outcome ("ok" or "error");
    `dmf_client_call_errors_total` a counter by the same and the status code. The version is "" where it is not known.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latency: dict[tuple[tuple[str, str], ...], _Histogram] = {}
        self._errors: dict[tuple[tuple[str, str], ...], int] = {}

    def __call__(self, record: CallRecord) -> None:
        """Counts one call."""
        labels = (
            ("model", record.model),
            ("method", record.method),
            ("signature", record.signature),
            ("version", "" if record.version is None else str(record.version)),
        )
        outcome = "ok" if record.code == "OK" else "error"
        with self._lock:
            histogram = self._latency.setdefault((*labels, ("outcome", outcome)), _Histogram())
            histogram.counts[bisect.bisect_left(LATENCY_BUCKETS, record.seconds)] += 1
            histogram.total += record.seconds
            if outcome == "error":
                key = (*labels, ("code", record.code))
                self._errors[key] = self._errors.get(key, 0) + 1

    def render(self) -> str:
        """Everything counted so far, in the Prometheus text format 0.0.4 (`text/plain; version=0.0.4`)."""
        with self._lock:
            latency = [(key, list(value.counts), value.total) for key, value in sorted(self._latency.items())]
            errors = sorted(self._errors.items())
        lines = [
            "# HELP dmf_client_call_seconds Seconds from sending a call to its parsed answer.",
            "# TYPE dmf_client_call_seconds histogram",
        ]
        for labels, counts, total in latency:
            seen = 0
            for bound, count in zip((*map(str, LATENCY_BUCKETS), "+Inf"), counts, strict=True):
                seen += count
                lines.append(f"dmf_client_call_seconds_bucket{_rendered((*labels, ('le', bound)))} {seen}")
            lines.append(f"dmf_client_call_seconds_sum{_rendered(labels)} {total!r}")
            lines.append(f"dmf_client_call_seconds_count{_rendered(labels)} {seen}")
        lines += [
            "# HELP dmf_client_call_errors_total Calls that failed, by gRPC status.",
            "# TYPE dmf_client_call_errors_total counter",
        ]
        lines += [f"dmf_client_call_errors_total{_rendered(labels)} {count}" for labels, count in errors]
        return "\n".join(lines) + "\n"


def _rendered(labels: tuple[tuple[str, str], ...]) -> str:
    escaped = ((name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for name, value in labels)
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"
