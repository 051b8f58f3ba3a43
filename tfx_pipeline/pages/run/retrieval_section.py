"""The section of a run's page about the stage that finds candidates: how it learned, and what is exported of it."""

from __future__ import annotations

from tfx_pipeline.config.stages import JUDGED_AT, RECALL
from tfx_pipeline.files import artifact_files
from tfx_pipeline.pages.kit.page import Block, Picture, Prose, Section, Table
from tfx_pipeline.pages.kit.wording import count, decimal, size
from tfx_pipeline.pages.run.epoch_curves import epoch_curves
from tfx_pipeline.pages.run.finished_run import FinishedRun
from tfx_pipeline.pages.run.retrieval_evaluation import RetrievalEvaluation, evaluation_blocks
from tfx_pipeline.training.metadata import RetrievalFacts
from tfx_pipeline.training.trainer import TrainingResult


def retrieval_training(run: FinishedRun) -> TrainingResult | None:
    """What the training of the two towers came to; None where the run has no such stage."""
    return run.record(TrainingResult, "RetrievalTrainer", "model_run", artifact_files.TRAINING_RESULT)


def retrieval_sections(run: FinishedRun, evaluation: RetrievalEvaluation | None = None) -> list[Section]:
    """The section; none where the run has no such stage and there is no evaluation.

    Args:
        run: the page's.
        evaluation: of retrievers; None: it was not given.

    Raises:
        DataError: the evaluation is of another pipeline.
    """
    training = retrieval_training(run)
    blocks = [*_learnt(run, training), *_exported(run)] if training is not None else []
    if evaluation is not None:
        blocks += evaluation_blocks(evaluation, run.pipeline)
    elif blocks:
        blocks.append(
            Prose(
                "Not measured beside other retrievers. The command dmf retrieval evaluate --config CONFIG --json FILE "
                "measures it; give FILE to dmf report --retrieval FILE."
            )
        )
    return [Section("retrieval", "Retrieval", blocks)] if blocks else []


def _learnt(run: FinishedRun, training: TrainingResult) -> list[Block]:
    """Recall and loss by epoch."""
    history, best = training.history, training.best_epoch
    limit = run.section("retrieval").get("epochs")
    stopped = (
        f"Training stopped after {len(history)} of at most {limit} epochs; "
        if limit is not None and len(history) < limit
        else f"{len(history)} epochs; "
    )
    recalls, losses = ([epoch[key] for epoch in history] for key in (RECALL, "loss"))
    recall = f"recall@{JUDGED_AT}"
    picture = Picture(
        [
            epoch_curves(
                "curve-recall", f"{recall} of eval by epoch; best epoch {best + 1}", recall, {"eval": recalls}, best
            ),
            epoch_curves("curve-retrieval-loss", "loss of train by epoch", "loss (nats)", {"train": losses}, best),
        ],
        f"{stopped}the two towers that were kept are those of epoch {best + 1}, where {recall} on eval is highest: the "
        f"share of clicks whose item is among the first {JUDGED_AT} of the whole catalogue, items of the "
        "history left out. The loss is a softmax over the negatives of a batch, and compares with no other loss.",
    )
    rows = [
        (str(number), decimal(epoch[RECALL]), decimal(epoch["loss"])) for number, epoch in enumerate(history, start=1)
    ]
    table = Table(
        f"Epochs; {count(training.train_requests)} train requests",
        ("epoch", f"eval {recall} (0 to 1)", "train loss (nats)"),
        rows,
        numbers=3,
    )
    return [picture, table]


def _exported(run: FinishedRun) -> list[Block]:
    """What lies beside the ranker; nothing where its metadata does not say it."""
    values = (run.metadata or {}).get("retrieval")
    if values is None:
        return []
    with run.reading("RankingTrainer", "model"):
        facts = RetrievalFacts.from_json(values)
    columns = (
        "items of the index",
        "width of vectors",
        "memory of the vectors",
        "items that are ranked",
        "order of a page",
    )
    order = f"logit(score) + {facts.retrieval_weight:g} x retrieval's" if facts.retrieval_weight else "score"
    row = (count(facts.items), count(facts.width), size(facts.index_bytes), count(facts.ranked_candidates), order)
    params = Table(
        "Hyper-parameters of the two towers", ("name", "value"), [(n, str(v)) for n, v in facts.params.items()]
    )
    return [Table("Exported with the ranker", columns, [row], numbers=4), params]
