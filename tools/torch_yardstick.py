"""How fast DMF is beside a plain PyTorch version of its equations: training steps, and `rank` of one user's candidates.

    .venv/bin/uv pip install --python .venv/bin/python --constraints requirements/requirements.lock torch
    OMP_WAIT_POLICY=passive .venv/bin/python -m tools.torch_yardstick
    OMP_WAIT_POLICY=passive .venv/bin/python -m tools.torch_yardstick --models dmf --history 100 --seconds 20

Where the cores have other work too, PyTorch's threads spin for whole time slices while they wait for each other, unless
they are told not to, as here.

PyTorch gets the weights of our model, and must give its logits to 1e-5 before anything is timed. It runs eagerly, as
such code is written, with Adam's fused kernel, in these forms:

- textbook: keys and values of each (candidate, history item) pair, [B, N, L, A], as the equations stand and as the
  public PyTorch DMF (MMCTR-Bench) has them, but with the projections of the history once per user;
- rows: the same, each candidate a row with a history of its own, which is how public code of CTR models takes them;
  of training requests of one candidate it is the same as textbook;
- factored: our form of the attention, so that one can tell what the form does from what the library does.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf
import torch
from rich.table import Table

from dmf_keras.models import RankingSchema
from dmf_keras.models.dmf import DMFConfig, DMFPaperConfig
from dmf_keras.models.inputs import (
    CANDIDATE_CONTENT_ROW,
    CANDIDATE_INDEX,
    HISTORY_CONTENT_ROW,
    HISTORY_INDEX,
    USER_INDEX,
)
from dmf_keras.models.ranking_model import RankingModel
from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import count, positive
from tfx_pipeline.cli.bench.measuring import measured, print_report
from tfx_pipeline.errors import PipelineError
from tfx_pipeline.studies.bench import training, workload
from tfx_pipeline.studies.bench.attention import ATTENTION_DIM, BUCKETS, HIDDEN_UNITS, compiled, largest_difference
from tfx_pipeline.studies.bench.machine import machine
from tfx_pipeline.studies.bench.timing import Timing, interleaved
from tfx_pipeline.training.freed_memory import freed_memory_kept

# PyTorch's builds for GPUs import triton with the first optimizer; its LLVM and that of TensorFlow end the process.
sys.modules.setdefault("triton", None)  # type: ignore[arg-type]  # what `import` takes for "not there"

OURS, TEXTBOOK, ROWS, FACTORED = "dmf_keras", "torch, textbook", "torch, rows", "torch, factored"
MODELS = ("dmf_paper", "dmf")
THREADS = 2
RANK_ITEMS, RANK_ID_DIM = 50_000, 64

Arrays = Mapping[str, np.ndarray]
Tensors = dict[str, torch.Tensor]
Functions = dict[str, Callable[[], np.ndarray]]


class TorchDMF(torch.nn.Module):
    """`dmf_keras.models.DMF` in PyTorch: one modality, one head of attention, equal buckets, log counts, fixed mixing.

    Args:
        schema: sizes of the tables; one modality, users, no columns.
        config: hyper-parameters of `dmf_paper`, or of `dmf`, which has content in items and users too.
        factored: whether attention is in our form; else in the textbook's.

    Raises:
        ValueError: a schema or hyper-parameters beyond this.
    """

    def __init__(self, schema: RankingSchema, config: DMFPaperConfig, factored: bool = False) -> None:
        super().__init__()
        asked = (len(schema.modalities), config.heads, config.bucket_edges, config.histogram, config.mixing)
        if asked != (1, 1, "equal", "log1p", "fixed") or len(config.branches) < 2 or schema.user_rows is None:
            raise ValueError(
                "the PyTorch version has users, one modality, one head, equal edges, log1p counts and both branches "
                f"mixed by a fixed alpha. Received: {asked}, branches {config.branches}, {schema.user_rows} user rows"
            )
        [spec] = schema.modalities.values()
        content_in = config.content_in if isinstance(config, DMFConfig) else ()
        width, dim = config.attention_dim, config.id_dim
        self.buckets, self.alpha, self.factored = config.buckets, config.alpha, factored
        self.content_in = content_in
        self.item_embedding = torch.nn.Embedding(schema.item_rows, dim)
        self.user_embedding = torch.nn.Embedding(schema.user_rows, dim)
        # Frozen, in rows of length 1 or 0.
        self.register_buffer("content", torch.zeros(schema.content_rows, spec.width))
        if "items" in content_in:
            self.item_content = torch.nn.Linear(spec.width, dim, bias=False)
        self.query = torch.nn.Linear(dim, width)
        self.key = torch.nn.Linear(dim, width, bias=False)
        self.value = torch.nn.Linear(dim, width, bias=False)
        self.key_table = torch.nn.Embedding(config.buckets + 1, width)
        self.value_table = torch.nn.Embedding(config.buckets + 1, width)
        branch = (*config.branch_hidden, config.interest_dim)
        self.enriched_branch = _mlp(width, branch)
        self.centric_branch = _mlp(config.buckets + 1, branch)
        user_width = dim + (spec.width if "user" in content_in else 0)
        self.head = _mlp(user_width + dim + config.interest_dim, (*config.hidden_units, 1))

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Logits [B, N] of int64 inputs by the names of `dmf_keras.models.inputs`."""
        mask = inputs[HISTORY_INDEX] != 0
        seen_content = self.content[inputs[HISTORY_CONTENT_ROW]]
        candidate_content = self.content[inputs[CANDIDATE_CONTENT_ROW]]
        seen = self.items(inputs[HISTORY_INDEX], seen_content)
        candidates = self.items(inputs[CANDIDATE_INDEX], candidate_content)
        bucket = self.bucket(candidate_content, seen_content)
        attended = (self.attend_factored if self.factored else self.attend)(candidates, seen, bucket, mask)
        counted = mask.to(attended.dtype).unsqueeze(1).expand(bucket.shape)
        counts = self.sum_by_bucket(counted, bucket)
        interest = self.alpha * self.enriched_branch(attended)
        interest = interest + (1 - self.alpha) * self.centric_branch(torch.log1p(counts))
        user = self.user(inputs[USER_INDEX], seen_content, mask).unsqueeze(1).expand(-1, candidates.shape[1], -1)
        return self.head(torch.cat([user, candidates, interest], dim=-1)).squeeze(-1)

    def items(self, index: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
        """What items are to the model, [B, W, d]."""
        embedded = self.item_embedding(index)
        return embedded + self.item_content(content) if "items" in self.content_in else embedded

    def user(self, index: torch.Tensor, seen_content: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The user's features [B, U]."""
        embedded = self.user_embedding(index)
        if "user" not in self.content_in:
            return embedded
        known = (mask & (seen_content != 0).any(dim=-1)).unsqueeze(-1)
        mean = (seen_content * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)
        return torch.cat([embedded, mean], dim=-1)

    def bucket(self, candidates: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Similarity buckets int64 [B, N, L] of content vectors [B, N, D], [B, L, D]; the last is the missing one."""
        cosine = candidates @ seen.mT
        ids = ((cosine + 1) * (self.buckets / 2)).long().clamp(0, self.buckets - 1)
        known = (candidates != 0).any(dim=-1).unsqueeze(2) & (seen != 0).any(dim=-1).unsqueeze(1)
        return torch.where(known, ids, self.buckets)

    def attend(
        self, candidates: torch.Tensor, seen: torch.Tensor, bucket: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """The interest [B, N, A] of keys and values of pairs, [B, N, L, A]."""
        query = self.query(candidates).unsqueeze(2)
        keys = self.key(seen).unsqueeze(1) + self.key_table(bucket)
        values = self.value(seen).unsqueeze(1) + self.value_table(bucket)
        logits = (query @ keys.mT).squeeze(2) / math.sqrt(query.shape[-1])
        return (_softmax(logits, mask).unsqueeze(2) @ values).squeeze(2)

    def attend_factored(
        self, candidates: torch.Tensor, seen: torch.Tensor, bucket: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """The same of tables, without a tensor of pairs and width."""
        query = self.query(candidates) / math.sqrt(self.query.out_features)
        logits = query @ self.key(seen).mT + (query @ self.key_table.weight.T).gather(2, bucket)
        weights = _softmax(logits, mask)
        return weights @ self.value(seen) + self.sum_by_bucket(weights, bucket) @ self.value_table.weight

    def sum_by_bucket(self, weights: torch.Tensor, bucket: torch.Tensor) -> torch.Tensor:
        """Sums [B, N, S + 1] of `weights` [B, N, L]."""
        sums = torch.zeros(*bucket.shape[:2], self.buckets + 1, dtype=weights.dtype)
        return sums.scatter_add(2, bucket, weights)


def _mlp(width: int, units: Sequence[int]) -> torch.nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[torch.nn.Module] = []
    for before, after in itertools.pairwise((width, *units)):
        layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def _softmax(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Softmax of [B, N, L] over what `mask` [B, L] has; zeros for an empty history."""
    mask = mask.unsqueeze(1)
    lowest = torch.finfo(logits.dtype).min
    return torch.softmax(logits.masked_fill(~mask, lowest), dim=-1) * mask.any(dim=-1, keepdim=True)


def paired(ours: RankingModel, theirs: TorchDMF) -> list[tuple[Any, torch.nn.Parameter, bool]]:
    """Our variables, each with PyTorch's parameter, and whether that is the transpose of it; all parameters once."""
    attention, head = ours.attention, ours.head
    pairs = [
        (ours.item_embedding.embeddings, theirs.item_embedding.weight, False),
        (ours.user_embedding.embeddings, theirs.user_embedding.weight, False),
        (attention.key_tables[0], theirs.key_table.weight, False),
        (attention.value_tables[0], theirs.value_table.weight, False),
        (head.kernel, theirs.head[0].weight, True),
        (head.bias, theirs.head[0].bias, False),
    ]
    layers = [(getattr(attention, name), getattr(theirs, name)) for name in ("query", "key", "value")]
    if "items" in theirs.content_in:
        layers.append((ours.item_content, theirs.item_content))
    for name in ("enriched_branch", "centric_branch"):
        layers += zip(getattr(ours, name).layers, _linear(getattr(theirs, name)), strict=True)
    dense = [layer for layer in head.tail if layer.weights]
    layers += zip(dense, _linear(theirs.head)[1:], strict=True)
    for keras_layer, linear in layers:
        pairs.append((keras_layer.kernel, linear.weight, True))
        if linear.bias is not None:
            pairs.append((keras_layer.bias, linear.bias, False))
    return pairs


def _linear(branch: torch.nn.Sequential) -> list[torch.nn.Linear]:
    return [layer for layer in branch if isinstance(layer, torch.nn.Linear)]


def to_torch(ours: RankingModel, factored: bool = False) -> TorchDMF:
    """Our model, `dmf` or `dmf_paper`, in PyTorch, with its weights and its content."""
    theirs = TorchDMF(ours.schema, cast(DMFPaperConfig, ours.config), factored)
    with torch.no_grad():
        for variable, parameter, transposed in paired(ours, theirs):
            values = keras.ops.convert_to_numpy(variable)
            parameter.copy_(torch.from_numpy(values.T if transposed else values.reshape(parameter.shape)))
        [table] = ours.content.values()
        theirs.content.copy_(
            torch.from_numpy(keras.ops.convert_to_numpy(table(np.arange(ours.schema.content_rows))[0]).copy())
        )
    return theirs


def give_exact_content(model: RankingModel) -> None:
    """Fills content with vectors of signs, whose cosines have no rounding.

    Any other cosine may lie so near an edge that two libraries put the pair into different buckets.
    """
    rng = np.random.default_rng(0)
    for table in model.content.values():
        table.set_rows(rng.choice([-1.0, 1.0], (table.rows, table.dim)))


def tensors(inputs: Arrays) -> Tensors:
    """Model inputs for PyTorch."""
    return {name: torch.from_numpy(np.asarray(values, np.int64)) for name, values in inputs.items()}


def a_row_per_candidate(inputs: Tensors) -> Tensors:
    """One request [1, N] as N requests of one candidate."""
    candidates = inputs[CANDIDATE_INDEX].shape[1]
    return {
        name: values.T if name in (CANDIDATE_INDEX, CANDIDATE_CONTENT_ROW) else values.repeat_interleave(candidates, 0)
        for name, values in inputs.items()
    }


def _logits(model: TorchDMF, inputs: Tensors, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Logits [B, N] of a model that is not trained, or of another shape."""
    with torch.inference_mode():
        logits: np.ndarray = model(inputs).numpy()
    return logits if shape is None else logits.reshape(shape)


def rank_functions(name: str, *, candidates: int, history: int) -> tuple[Functions, float]:
    """Functions from indices to logits of one request, by form, and their largest difference.

    Args:
        name: `dmf` or `dmf_paper`, with the paper's head (1024, 512, 256) and embeddings of 64.
        candidates, history: N and L.

    Raises:
        ModelError: the logits differ by more than `TOLERANCE` of `dmf bench attention`.
    """
    schema = workload.schema(items=RANK_ITEMS, users=training.USERS)
    params = {"id_dim": RANK_ID_DIM, "hidden_units": HIDDEN_UNITS, "attention_dim": ATTENTION_DIM, "buckets": BUCKETS}
    ours = workload.model(name, params, schema)
    give_exact_content(ours)
    inputs = workload.requests(schema, batch=1, candidates=candidates, history=history)
    given = tensors(inputs)
    textbook, factored = to_torch(ours).eval(), to_torch(ours, factored=True).eval()

    functions: Functions = {
        OURS: compiled(ours, (inputs,)),
        TEXTBOOK: partial(_logits, textbook, given),
        ROWS: partial(_logits, textbook, a_row_per_candidate(given), shape=(1, candidates)),
        FACTORED: partial(_logits, factored, given),
    }
    return functions, largest_difference(functions)


def torch_step(model: TorchDMF, inputs: Arrays, labels: np.ndarray, batch: int) -> Callable[[], float]:
    """A function that trains `model` on the next `batch` requests of `inputs`, in turn, and returns the loss."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)
    given, wanted = tensors(inputs), torch.from_numpy(labels)
    starts = itertools.cycle(range(0, len(labels), batch))

    def step() -> float:
        rows = slice(start := next(starts), start + batch)
        optimizer.zero_grad()
        logits = model({name: values[rows] for name, values in given.items()})
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted[rows])
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def training_functions(name: str, candidates: int) -> dict[str, Callable[[], float]]:
    """Training steps by form; each trains a model of its own that begins with the same weights.

    Args:
        name: `dmf` or `dmf_paper`, as `dmf bench training` builds it: default hyper-parameters, 10,000 items.
        candidates: N of each of the requests.

    Raises:
        ModelError: the logits of the first requests differ by more than `TOLERANCE` of `dmf bench attention`.
    """
    ours = training.new_model(name)
    give_exact_content(ours)
    inputs, labels = training.step_data(ours, candidates)
    first = {key: values[: training.REQUESTS_PER_BATCH] for key, values in inputs.items()}
    models = {TEXTBOOK: to_torch(ours), FACTORED: to_torch(ours, factored=True)}
    logits: Functions = {OURS: lambda: keras.ops.convert_to_numpy(ours(first))}
    for form, model in models.items():
        logits[form] = partial(_logits, model, tensors(first))
    largest_difference(logits)
    steps = {form: torch_step(model, inputs, labels, training.REQUESTS_PER_BATCH) for form, model in models.items()}
    return {OURS: training.train_step(ours, candidates), **steps}


def measure(models: Sequence[str], *, candidates: int, histories: Sequence[int], seconds: float) -> Table:
    """A table of milliseconds and candidates per second, a line each for both training steps and each `rank`."""
    forms = (OURS, TEXTBOOK, ROWS, FACTORED)
    table = Table("", *forms, title=f"milliseconds (candidates/s), {THREADS} threads", title_justify="left")
    # As the pipeline trains and a server runs; what PyTorch frees stays too.
    with freed_memory_kept():
        for name in models:
            for grouped in (training.POINTWISE, training.GROUPED):
                title = f"{name}: a step of {training.REQUESTS_PER_BATCH} requests of {grouped}"
                steps = interleaved(training_functions(name, grouped), seconds=seconds, title=title)
                seen = training.REQUESTS_PER_BATCH * grouped
                table.add_row(title, *(_cell(steps.get(form), seen) for form in forms))
            for history in histories:
                title = f"{name}: rank, N = {candidates}, L = {history}"
                functions, _ = rank_functions(name, candidates=candidates, history=history)
                ranked = interleaved(functions, seconds=seconds, title=title)
                table.add_row(title, *(_cell(ranked[form], candidates) for form in forms))
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="torch_yardstick", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, help=f"default: {' '.join(MODELS)}")
    parser.add_argument("--candidates", type=count, default=1200, metavar="N", help="of rank; default: 1200")
    parser.add_argument("--history", type=count, nargs="+", default=[100, 500], metavar="L", help="of rank")
    parser.add_argument("--seconds", type=positive, default=30.0, metavar="S", help="for each line; default: 30")
    parsed = parser.parse_args(arguments)
    sizes = {"candidates": parsed.candidates, "histories": parsed.history}
    try:
        table = measured(lambda: measure(parsed.models, **sizes, seconds=parsed.seconds))
    except PipelineError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return exit_status.ERROR
    print_report(machine(), table, [f"PyTorch {torch.__version__}"])
    return exit_status.OK


def _cell(timing: Timing | None, candidates: int) -> str:
    return "" if timing is None else f"{timing.median:.1f} ({1000 * candidates / timing.median:,.0f})"


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    # Before TensorFlow computes anything.
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    sys.exit(main())
