"""Sections of the page of `dmf compare` about what models cost and how they were trained."""

from __future__ import annotations

from collections.abc import Callable

import yaml
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from tfx_pipeline.pages.kit.figures import PANEL_SIZE, draw, label_points
from tfx_pipeline.pages.kit.page import Block, Details, Panel, Picture, Prose, Section, Table
from tfx_pipeline.pages.kit.palette import points
from tfx_pipeline.pages.kit.wording import count, decimal
from tfx_pipeline.studies.compare.report import ModelEntry, Report
from tfx_pipeline.studies.compare.seed_curves import seed_curves
from tfx_pipeline.studies.compare.sessions import mixed_sessions
from tfx_pipeline.training.chance import LEFT_CHANCE

# What a model costs, of its entry in the report; None where it was not measured.
Cost = Callable[[ModelEntry], float | None]
# What a model may have otherwise than the section `training`; each is shown with its own.
_OWN = ("learning_rate", "batch_size")


def cost_section(report: Report) -> Section:
    """Quality against what it costs, and where the cost was measured."""
    rank = report.rank
    costs: dict[str, tuple[str, Cost]] = {
        "train": ("training examples per second", lambda model: model.training.examples_per_second.mean),
        "rank": (f"rank of {rank.candidates} candidates (ms)", lambda model: model.rank_ms.median),
        "size": ("parameters besides embeddings", lambda model: model.parameters.rest),
    }
    panels = [_cost_panel(f"cost-{name}", label, report, cost) for name, (label, cost) in costs.items()]
    reference = next((model for model in report.models if model.label == report.reference), None)
    rows = [_cost_row(model, reference) for model in report.models]
    columns = (
        "model",
        "training examples/s (requests)",
        "of the reference's (×)",
        "seconds of a training",
        "rank, median (ms)",
        "rank, p10 to p90 (ms)",
        "parameters of embeddings",
        "other parameters",
    )
    caption = (
        "Quality against cost; up is better ranking. Left to right: training speed (faster to the right), time of one "
        f"rank call with {rank.candidates} candidates and a history of {rank.history} (faster to the left), "
        "and weights that every score goes through; embeddings are apart, since all models have them. "
        f"Ranking was timed on {report.machine.name}."
    )
    blocks: list[Block] = [Picture(panels, caption), Table("Cost", columns, rows, 7)]
    blocks += [Prose(sentence, "warning") for sentence in mixed_sessions(report)]
    return Section("cost", "What it costs", blocks)


def _cost_row(model: ModelEntry, reference: ModelEntry | None) -> tuple[str, ...]:
    speed, rank = model.training.examples_per_second, model.rank_ms
    own, other = speed.mean, reference.training.examples_per_second.mean if reference else None
    return (
        model.label,
        count(own) if own is not None else "–",
        f"{own / other:.2f}" if own and other else "–",
        decimal(model.training.seconds.mean, 0),
        f"{rank.median:.1f}",
        f"{rank.p10:.1f} to {rank.p90:.1f}",
        count(model.parameters.embeddings),
        count(model.parameters.rest),
    )


def _cost_panel(name: str, label: str, report: Report, cost_of: Cost) -> Panel:
    shown = [
        (number, model, cost, gauc)
        for number, model in enumerate(report.models)
        if (cost := cost_of(model)) is not None and (gauc := model.metrics["gauc"].mean) is not None
    ]

    def paint(axes: Axes) -> None:
        for number, _, cost, gauc in shown:
            axes.plot([cost], [gauc], markersize=7, **points(number))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.locator_params(axis="x", nbins=5)
        axes.set(xlabel=label, ylabel="mean test GAUC")
        axes.margins(0.12)
        label_points(axes, [(cost, gauc, model.label) for _, model, cost, gauc in shown])

    return draw(name, f"Test GAUC against {label}", paint, (PANEL_SIZE[0], max(PANEL_SIZE[1], 0.24 * len(shown) + 1)))


def training_section(report: Report) -> Section:
    """Eval AUC by epoch, and how each model was trained."""
    settings = report.training
    curves = {
        model.label: [[epoch.get("val_auc") for epoch in history] for history in model.history]
        for model in report.models
    }
    rows = [
        (
            model.label,
            f"{model.training.learning_rate:g}",
            count(model.training.batch_size),
            " ".join(map(str, model.training.epochs)),
            " ".join("–" if best is None else str(best + 1) for best in model.training.best_epoch),
        )
        for model in report.models
    ]
    columns = ("model", "learning rate", "batch size (requests)", "epochs trained", "best epoch")
    shared = {name: value for name, value in settings.items() if name not in _OWN}
    caption = (
        f"Eval AUC by epoch, a line per seed. All had the same budget: at most {settings['epochs']} epochs, stopped "
        f"after {settings['patience']} without a better eval AUC, once above {LEFT_CHANCE:g}; the best epoch kept. The "
        "test split plays no part."
    )
    return Section(
        "training",
        "Training",
        [
            Picture([seed_curves("Eval AUC by epoch of every training", "eval AUC (0.5 is chance)", curves)], caption),
            Table("Trainings; epochs by seed", columns, rows, 4),
            Details("Settings that all trainings share", yaml.safe_dump(shared, sort_keys=False)),
        ],
    )
