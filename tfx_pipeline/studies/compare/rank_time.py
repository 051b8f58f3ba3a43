"""How long models take to rank for one user: the exported `rank` signature's computation, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle, islice

import numpy as np
import tensorflow as tf

from dmf_keras.models.ranking_model import RankingModel
from serving import contract
from serving.export.content_inputs import ContentInputs
from serving.export.servable import request_arrays
from serving.export.signatures import score_requests
from tfx_pipeline.config.schema import Training
from tfx_pipeline.studies.bench.timing import Timing, interleaved
from tfx_pipeline.studies.compare.contenders import Contender
from tfx_pipeline.studies.compare.report import RankRequest
from tfx_pipeline.training.golden import read_requests
from tfx_pipeline.training.model_training import new_model
from tfx_pipeline.training.trainer import set_precision
from tfx_pipeline.training.trial import release_memory
from tfx_pipeline.training.trial_data import TrialData

CANDIDATES = 1200
_SECONDS_PER_MODEL = 3.0
# Among so many requests the one with the longest history is asked.
_REQUESTS = 1000


def rank_times(
    contenders: Sequence[Contender], training: Training, data: TrialData
) -> tuple[dict[str, Timing], RankRequest]:
    """Times ranking `CANDIDATES` items of the catalogue for one user, from raw strings to probabilities.

    Weights do not change how long a model takes: the models are untrained, with the catalogue's content.

    Args:
        contenders: the models; they take turns.
        training: whether to compute in mixed precision.
        data: catalogue, transform, requests.

    Returns:
        Milliseconds by label, and what was asked.
    """
    set_precision(training)
    arrays = _request(data)
    raw = {name: tf.constant(value) for name, value in arrays.items()}
    functions = {
        str(contender.label): _rank(
            new_model(
                contender.label.model,
                contender.params,
                data.training_data,
                modalities=contender.label.modalities,
                without=contender.label.without,
                seed=training.seed,
            ),
            data,
            raw,
        )
        for contender in contenders
    }
    times = interleaved(
        functions, seconds=_SECONDS_PER_MODEL * len(functions), title=f"ranking {CANDIDATES} candidates"
    )
    functions.clear()
    release_memory()
    return times, RankRequest(CANDIDATES, int(arrays[contract.HISTORY_ITEM_ID].shape[1]))


def _rank(model: RankingModel, data: TrialData, raw: dict[str, tf.Tensor]) -> Callable[[], np.ndarray]:
    transform, content = data.training_data.transform, ContentInputs(model)
    compiled = tf.function(lambda inputs: score_requests(model, transform, inputs, content), autograph=False)
    return lambda: compiled(raw).numpy()


def _request(data: TrialData) -> dict[str, np.ndarray]:
    transform = data.training_data.transform
    of_candidates = transform.candidate_inputs
    # Of what a contract says only the inputs matter here.
    inputs = contract.ModelContract(
        "",
        0,
        transform.user_inputs,
        candidate_inputs=of_candidates,
        user_lists=tuple(transform.user_lists),
        history_ages=transform.history_ages,
        further_histories=transform.further_histories,
    )
    requests = read_requests(data.examples["eval"], inputs, _REQUESTS)
    request = max(requests, key=lambda entry: len(entry[contract.HISTORY_ITEM_ID]))
    catalogue = data.training_data.content.item_ids
    chosen = np.random.default_rng(0).choice(len(catalogue), CANDIDATES, replace=len(catalogue) < CANDIDATES)
    shown = {name: list(islice(cycle(request[name]), CANDIDATES)) for name in of_candidates}
    request = {**request, **shown, contract.CANDIDATE_ITEM_ID: [catalogue[item] for item in chosen]}
    return request_arrays(request, inputs)
