"""`dmf retrieval evaluate`: retrievers on a split of the configuration's data, with or without a ranker behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.console import console
from tfx_pipeline.errors import ConfigError
from tfx_pipeline.files.json_values import now
from tfx_pipeline.files.output_folder import hold_output
from tfx_pipeline.studies.retrieval.contenders import (
    APPROXIMATE,
    TWO_TOWERS,
    candidate_counts,
    cascades_behind,
    check_names,
    cut_offs,
    default_names,
    page_weights,
)
from tfx_pipeline.studies.retrieval.report import FORMAT, RetrievalReport

if TYPE_CHECKING:
    from tfx_pipeline.evaluation.items_had import Had
    from tfx_pipeline.evaluation.retrieval.evaluate import Watch
    from tfx_pipeline.training.trial_data import TrialData


def evaluate_retrieval(
    config: PipelineConfig,
    names: Sequence[str] | None = None,
    at_k: Sequence[int] | None = None,
    split: str = "test",
    *,
    cascade: bool = False,
    weights: Sequence[float] | None = None,
) -> RetrievalReport:
    """Evaluates retrievers against the whole catalogue. Runs the pipeline's data steps, or takes them from its cache.

    Args:
        config: the validated configuration.
        names: retrievers; None: popularity, co-occurrence, content where there is some, two towers where the pipeline
            has trained some.
        at_k: cut-offs; None: those of `contenders.DEFAULT_AT_K` that the catalogue has items for.
        split: `eval` or `test`.
        cascade: also rank what each retriever found by the model of the last `RankingTrainer`, and the whole catalogue.
        weights: of retrieval's score in the order of what towers found and the model ranked, each beside the order of
            the model alone; None: that of `stages.ranking`.

    Raises:
        ConfigError: a retriever that does not exist, or a cut-off above the catalogue.
        PipelineError: the data steps refuse the inputs, a model that is asked for is not there, or nothing to judge.
    """
    if names is not None:
        names = check_names(config, names)
    with hold_output(config.output, "retrieval"):
        with console().status("loading libraries"):
            from tfx_pipeline.evaluation.items_had import items_had
            from tfx_pipeline.studies.preparation import prepare
            from tfx_pipeline.studies.retrieval.trained_models import has_two_towers
        data = prepare(config)
        if names is None:
            names = default_names(config, has_two_towers(config))
        if cascade and weights is not None and not {TWO_TOWERS, APPROXIMATE} & set(names):
            raise ConfigError(
                f"--weights: of the scores of {TWO_TOWERS}, which are not among the retrievers ({', '.join(names)}); "
                f"name {TWO_TOWERS} with --retrievers, or leave --weights out"
            )
        at_k = cut_offs(at_k, len(data.training_data.content.item_ids))
        with console().status("what users had before their requests"):
            had = items_had(list(data.examples.values()), data.examples[split], data.training_data.content.item_ids)
        return _report(config, data, had, names, at_k, split, page_weights(config, weights) if cascade else None)


def _report(
    config: PipelineConfig,
    data: TrialData,
    had: Had,
    names: Sequence[str],
    at_k: Sequence[int],
    split: str,
    weights: Sequence[float] | None,
) -> RetrievalReport:
    """The report; without weights no ranker stands behind the retrievers."""
    from tfx_pipeline.evaluation.bootstrap import CONFIDENCE
    from tfx_pipeline.evaluation.retrieval.cascade import Ranker
    from tfx_pipeline.evaluation.retrieval.evaluate import evaluate_retrievers
    from tfx_pipeline.evaluation.retrieval.train_items import read_train_items
    from tfx_pipeline.evaluation.whole_catalogue import rank_catalogue
    from tfx_pipeline.studies.retrieval.entries import RESAMPLES, list_entries, whole_ranking
    from tfx_pipeline.studies.retrieval.retrievers import ItemCounts, make_retriever
    from tfx_pipeline.studies.retrieval.trained_models import load_ranker

    training_data, files = data.training_data, data.examples[split]
    catalogue = training_data.content.item_ids
    name, model = load_ranker(config) if weights is not None else ("", None)
    with console().status("counting items in train"):
        train = read_train_items(data.examples["train"], catalogue)
        retrievers = {each: make_retriever(each, config, data, train) for each in names}
    counted = ItemCounts.of(config, data, train)
    cascades = {each: cascades_behind(each, len(catalogue), weights or ()) for each in names}
    with console().status("retrieving") as status:

        def told(what: str) -> Watch:
            return lambda done, requests: status.update(f"{what}: {done:,} of {requests:,} requests")

        evaluated = evaluate_retrievers(
            retrievers,
            files,
            catalogue,
            had,
            max(*at_k, *((1,) if model is None else candidate_counts(len(catalogue)))),
            counted.is_head,
            None if model is None else Ranker(model, training_data.transform, catalogue),
            cascades,
            told("retrieving"),
        )
        ranks = None
        if model is not None:
            ranks = rank_catalogue(
                model, training_data.transform, catalogue, files, had, told("ranking the whole catalogue")
            )
    judged = evaluated.judged
    with console().status("intervals from resampled users"):
        lists = list_entries(evaluated, at_k, counted.counts, config.evaluation)
        whole = None
        if model is not None and ranks is not None:
            whole = whole_ranking(name, ranks, judged.users, at_k)
    return RetrievalReport(
        format=FORMAT,
        pipeline=config.name,
        created=now(),
        split=split,
        at_k=list(at_k),
        items=len(catalogue),
        head_items=int(counted.is_head.sum()),
        frequency=counted.frequency,
        requests=len(judged.users),
        positives=len(judged.request),
        without_positive=judged.without_positive,
        unknown_positives=judged.unknown_positives,
        resamples=RESAMPLES,
        confidence=CONFIDENCE,
        lists=lists,
        ranker=whole,
    )
