"""What is written of a trained model to be served: the SavedModel, and the requests and facts that lie beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow_transform as tft

from dmf_keras.models.ranking_model import RankingModel
from serving import contract
from serving.export.content_inputs import ContentInputs
from serving.export.retrieval import RetrievalStage
from serving.export.signatures import export_model
from tfx_pipeline.config.schema import Evaluation
from tfx_pipeline.data.content.table import ItemContentTable
from tfx_pipeline.errors import ModelError
from tfx_pipeline.evaluation.item_facts import ItemFacts, write_item_facts
from tfx_pipeline.evaluation.known_users import write_known_users
from tfx_pipeline.training import golden
from tfx_pipeline.training.model_schema import content_bases, known_items, known_users
from tfx_pipeline.transform.request_transform import RequestTransform

# Requests of eval that golden and warm-up requests are chosen from.
GOLDEN_CANDIDATES = 64


class OfItems(NamedTuple):
    """What a model's inputs are made by.

    Attributes:
        transform: requests to model inputs.
        tft_output: the transform graph.
        content: the content table in the model.
    """

    transform: RequestTransform
    tft_output: tft.TFTransformOutput
    content: ItemContentTable


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServingOptions:
    """What the configuration says of a served model.

    Attributes:
        name: of the model in the registry.
        served_name: of the pipeline, under which it is served.
        max_history: see `export_model`.
        explain: whether the signature `explain` is exported.
        formula: that `score` is of several objectives; "": the first of them.
        warmup_candidates: numbers of candidates of the warm-up requests.
        evaluation: the borders of the slices.
    """

    name: str
    served_name: str
    max_history: int
    explain: bool
    formula: str
    warmup_candidates: Sequence[int]
    evaluation: Evaluation


def write_served_model(
    directory: Path,
    model: RankingModel,
    served: RankingModel,
    of_items: OfItems,
    options: ServingOptions,
    requests_of: Callable[[contract.ModelContract], Sequence[golden.Request]],
    retrieval: RetrievalStage | None,
    new_items: Sequence[str] = (),
) -> tuple[contract.ModelContract, ItemFacts]:
    """Exports `served` with golden and warm-up requests and the facts about items.

    Args:
        directory: of the SavedModel, new.
        model: the same in the precision of its training; golden requests are scored by it in float32.
        served: as it is exported.
        of_items: its transform and content.
        options: of the configuration.
        requests_of: real requests as the model takes them.
        retrieval: the stage that is exported with it; None: there is none.
        new_items: ids that the catalogue has and training did not.

    Returns:
        The contract that was written, and the facts.

    Raises:
        ModelError: there are no requests.
    """
    transform, tft_output, content = of_items
    bases = content_bases(content)
    written = export_model(
        served,
        transform,
        directory,
        name=options.name,
        max_history=options.max_history,
        content_bases=bases,
        explain=options.explain,
        formula=options.formula,
        retrieval=retrieval,
    )
    requests = requests_of(written)
    if not requests:
        raise ModelError("the eval split has no requests to check the exported model with")
    own = written.candidate_inputs
    without_content = [content.item_ids[row] for row in np.flatnonzero(~content.covered)[:4]]
    cases = golden.golden_cases(requests, without_content, own, written.user_lists, new_items)
    if written.content_widths:
        cases |= golden.content_cases(cases["longest history"], content, own)
    exact = model.for_serving(contract.FLOAT32)
    golden.write_golden(exact, transform, ContentInputs(exact, bases), directory, cases, retrieval)
    golden.write_warmup_requests(
        directory, options.served_name, requests, content.catalogue_ids, options.warmup_candidates
    )
    ids, impressions, has_content = known_items(tft_output, content)
    write_item_facts(directory, ids, impressions, has_content, options.evaluation)
    if (users := known_users(tft_output)) is not None:
        write_known_users(directory, users)
    return written, ItemFacts.of(ids, impressions, has_content, options.evaluation)
