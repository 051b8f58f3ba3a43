"""Trains all towers with all seeds on the same examples, and says how well they find what was chosen, how surely."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.stages import Stages
from tfx_pipeline.console import console
from tfx_pipeline.evaluation.items_had import items_had
from tfx_pipeline.evaluation.retrieval.train_items import read_train_items
from tfx_pipeline.files.json_values import now
from tfx_pipeline.studies.compare.entries import bootstrap_facts
from tfx_pipeline.studies.preparation import prepare
from tfx_pipeline.studies.retrieval.compare.entries import SeededLists, compared_lists, trained_entry
from tfx_pipeline.studies.retrieval.compare.finished import (
    Question,
    TowerTraining,
    TrainedRanker,
    is_judged,
    is_trained,
    judge,
    ranker_folder,
    read_facts,
    read_ranks,
    train,
    train_ranker,
)
from tfx_pipeline.studies.retrieval.compare.plan import RetrievalPlan
from tfx_pipeline.studies.retrieval.compare.report import FORMAT, RetrievalComparison
from tfx_pipeline.studies.retrieval.contenders import CANDIDATES, cut_offs
from tfx_pipeline.studies.retrieval.retrievers import ItemCounts, make_retriever
from tfx_pipeline.training.trial import Trial


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
    question = Question(data, plan.split, had, counted.is_head, longest, plan.weights)
    with console().status("retrieving") as status:
        evaluated = question.ask(
            baselines,
            lambda done, requests: status.update(f"baselines: {done:,} of {requests:,} requests"),
        )
    trained = _train_all(config, plan, question, folder)
    judged = evaluated.judged
    alone = [
        SeededLists(label, [read_ranks(place, question) for place in seeds]) for label, seeds in trained.towers.items()
    ]
    alone += [SeededLists(name, [ranks]) for name, ranks in evaluated.retrieved.items()]
    with console().status("intervals from resampled users"):
        entries = []
        for lists, cut in [(alone, at_k), *_cascades(trained, question, at_k)]:
            entries += compared_lists(judged, lists, plan.reference, cut, counted.counts, config.evaluation)
    # What rankers made of a retriever's lists stands behind these.
    order = [each.retriever for each in alone]
    entries.sort(key=lambda entry: order.index(entry.retriever))
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
            trained_entry([read_facts(place) for place in trained.towers[str(towers.label)]], towers.settings)
            for towers in plan.towers
        ],
        rankers=[
            trained_entry([read_facts(each.folder) for each in trained.rankers[str(ranker.label)]], ranker.training)
            for ranker in plan.rankers
        ],
        lists=entries,
    )


@dataclass(frozen=True)
class _Trained:
    """Finished trainings.

    Attributes:
        towers: by label their folders, one per seed.
        rankers: by label, one per seed.
    """

    towers: dict[str, list[Path]]
    rankers: dict[str, list[TrainedRanker]]


def _cascades(trained: _Trained, question: Question, at_k: list[int]) -> Iterator[tuple[list[SeededLists], list[int]]]:
    """For each ranker, and each way to stand behind towers, the lists of all towers and the cut-offs of these."""
    for label, rankers in trained.rankers.items():
        for cascade in question.cascades:
            lists = []
            for towers, places in trained.towers.items():
                seeds = zip(places, rankers, strict=True)
                ranks = [read_ranks(place, question, ranker, cascade) for place, ranker in seeds]
                lists.append(SeededLists(towers, ranks, label, cascade))
            if cut := [k for k in at_k if k <= cascade.candidates]:
                yield lists, cut


def _train_all(config: PipelineConfig, plan: RetrievalPlan, question: Question, folder: Path) -> _Trained:
    """Seeds are the outer loop, as in `dmf compare`; rankers come before the towers of their seed."""
    trained = _Trained(
        {str(towers.label): [] for towers in plan.towers}, {str(ranker.label): [] for ranker in plan.rankers}
    )
    data = question.data
    turns = len(plan.seeds) * (len(plan.towers) + len(plan.rankers))
    names = (f"[{number}/{turns}]" for number in range(1, turns + 1))
    for seed in plan.seeds:
        rankers: list[TrainedRanker] = []
        for contender in plan.rankers:
            label, name = contender.label, f"{next(names)} {contender.label}, seed {seed}"
            trial = Trial(label.model, contender.params, seed, contender.training, label.modalities, label.without)
            place = ranker_folder(folder, trial, data)
            with _told(name) as done:
                if not is_trained(place):
                    train_ranker(trial, data, place, name)
                    done.append("trained")
            rankers.append(TrainedRanker(str(label), label.model, place))
            trained.rankers[str(label)].append(rankers[-1])
        wanted: Sequence[TrainedRanker | None] = rankers or [None]
        for towers in plan.towers:
            name = f"{next(names)} {towers.label}, seed {seed}"
            training = TowerTraining(towers.label, towers.settings, config.training.model_copy(update={"seed": seed}))
            place = training.folder(folder, data)
            with _told(name) as done:
                if not is_trained(place):
                    train(training, data, place, name)
                    done.append("trained")
                if missing := [ranker for ranker in wanted if not is_judged(place, question, ranker)]:
                    for ranker in missing:
                        _judge(place, question, name, ranker)
                    done.append("evaluated")
            trained.towers[str(towers.label)].append(place)
    return trained


@contextlib.contextmanager
def _told(name: str) -> Iterator[list[str]]:
    """Says what was done and how long it took, where anything was."""
    started = time.monotonic()
    done: list[str] = []
    yield done
    seconds = time.monotonic() - started
    said = f"{' and '.join(done)} in {seconds:.0f} s" if done else "finished before"
    console().print(f"{name}: {said}", highlight=False)


def _judge(place: Path, question: Question, name: str, ranker: TrainedRanker | None) -> None:
    doing = "retrieving" if ranker is None else f"retrieving, then {ranker.label}"
    with console().status(f"{name}: {doing}") as status:

        def watch(done: int, requests: int) -> None:
            status.update(f"{name}: {doing}, {done:,} of {requests:,} requests")

        judge(place, question, watch, ranker)
