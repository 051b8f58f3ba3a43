"""Trains all towers with all seeds on the same examples, and says how well they find what was chosen, how surely."""

from __future__ import annotations

import time
from pathlib import Path

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.stages import Stages
from tfx_pipeline.console import console
from tfx_pipeline.evaluation.items_had import items_had
from tfx_pipeline.evaluation.retrieval.train_items import read_train_items
from tfx_pipeline.files.json_values import now
from tfx_pipeline.studies.compare.entries import bootstrap_facts
from tfx_pipeline.studies.preparation import prepare
from tfx_pipeline.studies.retrieval.compare.entries import SeededLists, compared_lists, towers_entry
from tfx_pipeline.studies.retrieval.compare.finished import (
    Question,
    TowerTraining,
    is_trained,
    judge,
    read_facts,
    read_ranks,
    train,
)
from tfx_pipeline.studies.retrieval.compare.plan import RetrievalPlan
from tfx_pipeline.studies.retrieval.compare.report import FORMAT, RetrievalComparison
from tfx_pipeline.studies.retrieval.contenders import CANDIDATES, cut_offs
from tfx_pipeline.studies.retrieval.retrievers import ItemCounts, make_retriever


def run_comparison(config: PipelineConfig, plan: RetrievalPlan, folder: Path) -> RetrievalComparison:
    """Prepares the data, trains what is not finished, asks everybody the same, and gathers the report.

    Args:
        config: the validated configuration.
        plan: towers, seeds, baselines, reference.
        folder: below it lie the finished trainings.

    Raises:
        ConfigError: a cut-off above the catalogue.
        PipelineError: the data steps refuse the inputs, a training diverged, or nothing to judge.
    """
    data = prepare(config, code=("retrieved",))
    catalogue = data.training_data.content.item_ids
    at_k = cut_offs(plan.at_k, len(catalogue))
    with console().status("what users had before their requests"):
        had = items_had(list(data.examples.values()), data.examples[plan.split], catalogue)
    with console().status("counting items in train"):
        items = read_train_items(data.examples["train"], catalogue)
        baselines = {name: make_retriever(name, config, data, items) for name in plan.baselines}
        counted = ItemCounts.of(config, data, items)
    # Of one length whatever the cut-offs: others train and ask nobody again.
    longest = max(*at_k, min(max(CANDIDATES), len(catalogue)))
    question = Question(data, plan.split, had, counted.is_head, longest)
    with console().status("retrieving") as status:
        evaluated = question.ask(
            baselines,
            lambda done, requests: status.update(f"baselines: {done:,} of {requests:,} requests"),
        )
    places = _train_all(config, plan, question, folder)
    lists = [
        *(SeededLists(label, [read_ranks(place, question) for place in seeds]) for label, seeds in places.items()),
        *(SeededLists(name, [ranks]) for name, ranks in evaluated.retrieved.items()),
    ]
    judged = evaluated.judged
    with console().status("intervals from resampled users"):
        entries = compared_lists(judged, lists, plan.reference, at_k, counted.counts, config.evaluation)
    return RetrievalComparison(
        format=FORMAT,
        pipeline=config.name,
        created=now(),
        output=str(config.output),
        split=plan.split,
        reference=plan.reference,
        seeds=list(plan.seeds),
        at_k=at_k,
        items=len(catalogue),
        head_items=int(counted.is_head.sum()),
        frequency=counted.frequency,
        requests=len(judged.users),
        positives=len(judged.request),
        without_positive=judged.without_positive,
        unknown_positives=judged.unknown_positives,
        bootstrap=bootstrap_facts(plan.split),
        stage=(config.stages or Stages()).retrieval.model_dump(mode="json"),
        towers=[
            towers_entry([read_facts(place) for place in places[str(towers.label)]], towers.settings)
            for towers in plan.towers
        ],
        lists=entries,
    )


def _train_all(config: PipelineConfig, plan: RetrievalPlan, question: Question, folder: Path) -> dict[str, list[Path]]:
    """By label the folders of its trainings, one per seed. Seeds are the outer loop, as in `dmf compare`."""
    places: dict[str, list[Path]] = {str(towers.label): [] for towers in plan.towers}
    turns = [(seed, towers) for seed in plan.seeds for towers in plan.towers]
    for number, (seed, towers) in enumerate(turns, start=1):
        training = TowerTraining(towers.label, towers.settings, config.training.model_copy(update={"seed": seed}))
        place = training.folder(folder, question.data)
        name, started, done = f"[{number}/{len(turns)}] {towers.label}, seed {seed}", time.monotonic(), []
        if not is_trained(place):
            train(training, question.data, place, name)
            done.append("trained")
        if not question.file(place).is_file():
            _judge(place, question, name)
            done.append("evaluated")
        seconds = time.monotonic() - started
        said = f"{' and '.join(done)} in {seconds:.0f} s" if done else "finished before"
        console().print(f"{name}: {said}", highlight=False)
        places[str(towers.label)].append(place)
    return places


def _judge(place: Path, question: Question, name: str) -> None:
    with console().status(f"{name}: retrieving") as status:
        judge(
            place,
            question,
            lambda done, requests: status.update(f"{name}: retrieving, {done:,} of {requests:,} requests"),
        )
