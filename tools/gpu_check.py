"""Every model on a GPU: equal to the CPU, and how fast it trains and ranks. Needs Keras, NumPy and one backend.

    KERAS_BACKEND=jax python -m tools.gpu_check --json jax.json
    KERAS_BACKEND=torch python -m tools.gpu_check --models dmf,target_attention --seconds 1
    python -m tools.gpu_check --smallest                      # whether it runs at all; on a CPU, too

First all models give logits on the CPU and on the first GPU with the same weights. Then come training steps (256
requests of 16 candidates) and `rank` (one user, N = 1200) for histories of 50 to 4000 items, in float32 and bfloat16,
and scores of a kept user state. All goes through Keras's own `train_on_batch` and `predict_on_batch`, transfers
included. Each line is printed when it is measured, so that a machine that is taken away leaves what it has done. Exit
status 1: a model differs from the CPU by more than `--tolerance` of its largest logit, or fails.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dmf_keras.models import model_names
from dmf_keras.models.inputs import CANDIDATE_CONTENT_ROW, CANDIDATE_INDEX
from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.studies.bench import workload

CPU = "cpu:0"
PRECISIONS = {"float32": None, "bfloat16": "bfloat16"}
OF_CANDIDATES = (CANDIDATE_INDEX, CANDIDATE_CONTENT_ROW)
# Rows of result: what was measured, and the median in milliseconds or what went wrong.
Row = dict[str, Any]


class Sizes:
    """Of what is measured; `smallest` is for a look whether all of it runs."""

    def __init__(self, smallest: bool):
        self.items, self.users = (50, 20) if smallest else (100_000, 50_000)
        self.histories = (5,) if smallest else (50, 500, 1000, 4000)
        self.requests, self.grouped, self.candidates = (8, 2, 10) if smallest else (256, 16, 1200)

    def inputs(self, batch: int, candidates: int, history: int) -> dict[str, np.ndarray]:
        """Model inputs, see `workload.requests`."""
        schema = workload.schema(items=self.items, users=self.users)
        return workload.requests(schema, batch=batch, candidates=candidates, history=history)

    def model(self, name: str, dense_dtype: str | None = None) -> RankingModel:
        """A model of the registry on the device of the scope."""
        schema = workload.schema(items=self.items, users=self.users)
        return workload.model(name, {}, schema, dense_dtype)


class Scoring(keras.Model):
    """Logits of candidates against a user state that was kept."""

    def __init__(self, model: RankingModel):
        super().__init__()
        self.model = model

    def call(self, inputs: dict[str, Any]) -> Any:
        """[B, N] of the state's tensors and the candidates."""
        state = {name: value for name, value in inputs.items() if name not in OF_CANDIDATES}
        return self.model.score(state, {name: inputs[name] for name in OF_CANDIDATES})


def gpu() -> str | None:
    """The first GPU as Keras names it; None where the backend sees none."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        return "gpu:0" if torch.cuda.is_available() else None
    if backend == "jax":
        import jax

        return "gpu:0" if any(device.platform == "gpu" for device in jax.devices()) else None
    import tensorflow as tf

    return "gpu:0" if tf.config.list_physical_devices("GPU") else None


def differences(names: Sequence[str], sizes: Sizes, device: str) -> Iterator[Row]:
    """Of each model the largest difference of a logit between the CPU and the device."""
    for name in names:
        yield _row({"check": "equal", "model": name}, partial(_difference, name, sizes, device))


def speeds(names: Sequence[str], sizes: Sizes, device: str, seconds: float) -> Iterator[Row]:
    """Milliseconds of a training step, of `rank`, and of candidates against a kept state."""
    checks = {"step": _step, "rank": _rank, "kept state": _kept}
    for name, (precision, dense_dtype), history in itertools.product(names, PRECISIONS.items(), sizes.histories):
        build = partial(sizes.model, name, dense_dtype)
        for check, prepare in checks.items():
            case = {"check": check, "model": name, "precision": precision, "history": history}
            yield _row(case, partial(_speed, prepare, build, sizes, history, device, seconds))


def _difference(name: str, sizes: Sizes, device: str) -> dict[str, float]:
    inputs = sizes.inputs(4, sizes.grouped, sizes.histories[0])
    logits = []
    weights = None
    for where in (CPU, device):
        with keras.device(where):
            model = sizes.model(name)
            if weights is not None:
                model.set_weights(weights)
            logits.append(np.asarray(keras.ops.convert_to_numpy(model(inputs))))
            weights = model.get_weights()
    expected, found = logits
    return {"difference": float(np.abs(found - expected).max()), "largest": float(np.abs(expected).max())}


def _speed(
    prepare: Callable[[Sizes, RankingModel, int], Callable[[], Any]],
    build: Callable[[], RankingModel],
    sizes: Sizes,
    history: int,
    device: str,
    seconds: float,
) -> dict[str, float]:
    with keras.device(device):
        return _timed(prepare(sizes, build(), history), seconds)


def _step(sizes: Sizes, model: RankingModel, history: int) -> Callable[[], Any]:
    model.compile(keras.optimizers.Adam(1e-3))
    inputs = sizes.inputs(sizes.requests, sizes.grouped, history)
    labels = np.random.default_rng(1).integers(0, 2, (sizes.requests, sizes.grouped)).astype(np.float32)
    return lambda: model.train_on_batch(inputs, labels)


def _rank(sizes: Sizes, model: RankingModel, history: int) -> Callable[[], Any]:
    inputs = sizes.inputs(1, sizes.candidates, history)
    return lambda: model.predict_on_batch(inputs)


def _kept(sizes: Sizes, model: RankingModel, history: int) -> Callable[[], Any]:
    inputs = sizes.inputs(1, sizes.candidates, history)
    state = model.encode_user({name: value for name, value in inputs.items() if name not in OF_CANDIDATES})
    scoring = Scoring(model)
    given = {**state, **{name: inputs[name] for name in OF_CANDIDATES}}
    return lambda: scoring.predict_on_batch(given)


def _timed(call: Callable[[], Any], seconds: float) -> dict[str, float]:
    """The first call, which compiles, and the median of those that fit into the time; at least three."""
    started = time.perf_counter()
    call()
    first = time.perf_counter() - started
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < until:
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return {"first_ms": 1000 * first, "ms": 1000 * statistics.median(taken), "calls": len(taken)}


def _row(case: Row, measure: Callable[[], dict[str, float]]) -> Row:
    try:
        found: Row = measure()
    # Out of memory, an operation that the backend lacks: the other cases are still of use.
    except Exception as error:
        found = {"failed": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"[:300]}
    return {**case, **{name: round(value, 6) if isinstance(value, float) else value for name, value in found.items()}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks and measures; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.gpu_check", description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(model_names()), help="comma-separated; default: all")
    parser.add_argument("--measured", default="dmf,target_attention", help="of them, those that are timed")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement")
    parser.add_argument(
        "--tolerance", type=float, default=0.01, help="share of the largest logit; GPUs round products to TF32"
    )
    parser.add_argument("--smallest", action="store_true", help="tiny sizes: whether it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all rows to FILE, after each")
    parsed = parser.parse_args(arguments)
    sizes, device = Sizes(parsed.smallest), gpu()
    names, measured = parsed.models.split(","), parsed.measured.split(",")
    if unknown := sorted({*names, *measured} - set(model_names())):
        parser.error(f"no model {', '.join(unknown)}; models: {', '.join(model_names())}")
    backend = keras.backend.backend()
    print(f"Keras {keras.__version__} on {backend}, {device or 'no GPU is visible: the CPU'}", flush=True)
    rows: list[Row] = []
    wrong = 0
    chosen = device or CPU
    for row in differences(names, sizes, chosen):
        wrong += "failed" in row or row["difference"] > parsed.tolerance * row["largest"]
        _keep(row, rows, parsed.json, backend, device)
    for row in speeds([name for name in measured if name in names], sizes, chosen, parsed.seconds):
        wrong += "failed" in row
        _keep(row, rows, parsed.json, backend, device)
    print(f"{len(rows)} rows, {wrong} wrong or failed", flush=True)
    return 1 if wrong else 0


def _keep(row: Row, rows: list[Row], file: Path | None, backend: str, device: str | None) -> None:
    rows.append(row)
    print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    if file is not None:
        report = {"keras": keras.__version__, "backend": backend, "device": device, "rows": rows}
        file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
