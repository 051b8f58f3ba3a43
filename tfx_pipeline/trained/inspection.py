"""`dmf model inspect`: what an exported model takes and gives, where it comes from and how large it is."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from serving import contract
from serving.contract import ModelContract, TensorContract
from serving.export.metadata import read_json, saved_model_sizes
from serving.messages import first_line
from tfx_pipeline.config.metrics import SHOWN, by_request, cut_offs, objectives_in
from tfx_pipeline.config.stages import JUDGED_AT, RECALL
from tfx_pipeline.console import Console
from tfx_pipeline.data.ingestion_report import SplitCounts
from tfx_pipeline.errors import ModelError
from tfx_pipeline.runners.summary_view import splits_table
from tfx_pipeline.trained.version import Version

_PENALISED = "loss with penalties"


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What lies beside an exported model.

    Attributes:
        path: of the version.
        contract: its signatures and what a client must know of them.
        sizes: bytes of each part, and their total.
        metadata: how it was made, as `assets.extra/metadata.json` has it; None: it was not exported by the pipeline.
        evaluation: its metrics, as `assets.extra/evaluation.json` has them; None: it was not pushed by the pipeline.
    """

    path: str
    contract: ModelContract
    sizes: dict[str, int]
    metadata: dict[str, Any] | None
    evaluation: dict[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """What `dmf model inspect --json` prints."""
        return {**dataclasses.asdict(self), "contract": json.loads(self.contract.to_json())}


def inspect_model(version: Version) -> Inspection:
    """Reads what lies beside an exported model; the model itself is not loaded.

    Raises:
        ModelError: it is no ranking model of this project, or a file beside it cannot be read.
    """
    path = version.path
    try:
        return Inspection(
            str(path),
            contract=version.contract,
            sizes=saved_model_sizes(path),
            metadata=read_json(path, contract.METADATA_FILE),
            evaluation=read_json(path, contract.EVALUATION_FILE),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read as a ranking model: {first_line(error)}") from None


def print_model(found: Inspection, target: Console) -> None:
    """The model as tables."""
    facts = Table(show_header=False, box=None)
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    for name, value in _facts(found):
        facts.add_row(name, value)
    target.print(facts)
    target.print(_signature_table(found.contract.signatures))
    target.print(_size_table(found.sizes, found.metadata))
    if found.metadata is None:
        target.print("no metadata: the model was not exported by this version of the pipeline")
        return
    target.print(_data_table(found.metadata["data"]))
    target.print(_metrics_table(found.metadata["training"], found.evaluation))
    if found.evaluation is not None:
        target.print(_requests_table(found.evaluation["metrics"]))


def _facts(found: Inspection) -> Iterator[tuple[str, str]]:
    metadata = found.metadata
    yield "path", found.path
    yield "model", found.contract.model
    ages = (found.metadata or {}).get("history_age_buckets")
    told = f", how long ago each was in {ages} buckets" if ages else ""
    yield "longest history", f"{found.contract.max_history} items{told}"
    if objectives := found.contract.objectives:
        conditions = (f"{name}, given {given}" if given else name for name, given in objectives.items())
        yield "objectives", "; ".join(conditions)
        yield "score", found.contract.formula
    if metadata is None:
        return
    git = metadata["git"]
    yield "served as", metadata["served_name"]
    if refresh := metadata.get("refresh"):
        yield "weights trained", _weights(metadata["created"], refresh)
        yield "tables refreshed", _refreshed(metadata["content"], refresh)
    else:
        yield "exported", metadata["created"]
    yield "hyper-parameters", ", ".join(f"{name} {value}" for name, value in metadata["params"].items())
    yield "weights", f"{metadata['weights']:,} and the tables of items"
    yield "seed", str(metadata["seed"])
    if stage := metadata.get("retrieval"):
        yield "retrieval", _retrieval(stage)
        if index := stage.get("approximate"):
            yield "approximate index", _approximate(index)
        yield "two towers", ", ".join(f"{name} {value}" for name, value in stage["params"].items())
    if (rounded := metadata.get("precision")) is not None:
        yield "precision", _precision(rounded)
    if (fitted := metadata.get("calibration")) is not None:
        before = ", by the model before the refit" if "refit" in metadata else ""
        yield "calibrated", _calibration(fitted) + before
    yield "configuration", metadata["config_digest"]
    if refit := metadata.get("refit"):
        yield "refitted", refit["note"]
    if git is not None:
        yield "git", git["revision"] + (", with changes that are not committed" if git["dirty"] else "")
    yield "versions", ", ".join(f"{name} {version}" for name, version in metadata["versions"].items())


def _weights(trained: str, refresh: Mapping[str, Any]) -> str:
    return (
        f"{trained}, as in version {refresh['weights_version']}: digest {refresh['weights_digest']}, with content "
        f"{refresh['trained_content']}"
    )


def _refreshed(content: Mapping[str, Any], refresh: Mapping[str, Any]) -> str:
    return (
        f"{refresh['created']}, of version {refresh['of_version']}: content {content['version']}; {refresh['new']:,} "
        f"items new, {refresh['changed']:,} changed, {refresh['removed']:,} removed; {refresh['retired']:,} are kept "
        "for histories alone"
    )


def _retrieval(stage: Mapping[str, Any]) -> str:
    weight = stage.get("retrieval_weight")
    order = f", pages by logit(score) + {weight:g} x retrieval's score" if weight else ""
    return (
        f"{stage['items']:,} items, width {stage['width']}, index of {stage['index_bytes']:,} bytes; "
        f"{stage['ranked_candidates']:,} items are ranked{order}; epoch {stage['best_epoch'] + 1} of "
        f"{stage['epochs']}: recall@{JUDGED_AT} on eval {stage['metrics'][RECALL]:.4f}"
    )


def _approximate(index: Mapping[str, Any]) -> str:
    return (
        f"finds {index['recall']:.4f} of the first {index['at']:,} items of an exact search ({index['users']:,} users "
        f"of eval); {index['library']}, connectivity {index['connectivity']}, expansion {index['expansion_add']} in "
        f"making and {index['expansion_search']} in searching; made in {index['build_seconds']:.1f} s"
    )


def _precision(rounded: Mapping[str, Any]) -> str:
    told = ", ".join(f"{name} {change['value']:+.5f}" for name, change in rounded["changes"].items())
    return (
        f"{rounded['precision']} in head and branches; on eval, beside float32: {told}; "
        f"scores by at most {rounded['largest_score_difference']:.4f}"
    )


def _calibration(fitted: Mapping[str, Any]) -> str:
    return (
        f"{fitted['method']}, on eval: promised clicks over clicks {fitted['calibration_before']:.3f} to "
        f"{fitted['calibration_after']:.3f}, log loss {fitted['log_loss_before']:.4f} to {fitted['log_loss_after']:.4f}"
    )


def _signature_table(signatures: Mapping[str, Mapping[str, Mapping[str, TensorContract]]]) -> Table:
    table = Table(title="signatures (? is any size)", title_justify="left")
    for column in ("signature", "", "tensor", "dtype", "shape"):
        table.add_column(column)
    for name, sides in signatures.items():
        label = name
        for side, word in (("inputs", "in"), ("outputs", "out")):
            for tensor, spec in sides[side].items():
                shape = ", ".join("?" if size is None else str(size) for size in spec.shape)
                table.add_row(label, word, tensor, spec.dtype, f"[{shape}]")
                label, word = "", ""
        table.add_section()
    return table


def _size_table(sizes: Mapping[str, int], metadata: Mapping[str, Any] | None) -> Table:
    table = Table(title="sizes", title_justify="left")
    table.add_column("part")
    table.add_column("bytes", justify="right")
    table.add_column("")
    notes = {
        "graph": "saved_model.pb",
        "variables": "weights and tables of items",
        "assets": "vocabularies, ids of the catalogue",
        "extra": "warm-up and golden requests, facts about items",
    }
    for part, size in sizes.items():
        table.add_row(part, f"{size:,}", notes.get(part, ""))
    if metadata is not None:
        for name, facts in metadata["content"]["modalities"].items():
            width = f"width {facts['width']}"
            if facts["width"] != facts["source_width"]:
                width = f"{width} of {facts['source_width']}"
            note = f"{facts['dtype']}, {width}, {facts['items_with_content']:,} items, of {facts['source']}"
            table.add_row(f"content '{name}'", f"{facts['table_bytes']:,}", note)
        for name, facts in metadata["content"].get("item_columns", {}).items():
            kind = "numbers" if facts["rows"] is None else f"{facts['rows']:,} rows, up to {facts['width']} of an item"
            table.add_row(f"column '{name}'", "", f"{kind}, {facts['items_with_value']:,} items")
        if codes := metadata["content"].get("codes"):
            note = f"{codes['levels']} levels of {codes['size']:,}, {codes['items_with_codes']:,} items"
            table.add_row(f"codes of '{codes['of']}'", "", note)
        if statistics := metadata["content"].get("item_statistics"):
            table.add_row("counts of items", "", f"{', '.join(statistics)} in train")
        for name, facts in metadata.get("candidate_columns", {}).items():
            kind = "numbers" if facts["rows"] is None else f"{facts['rows']:,} rows"
            table.add_row(f"column '{name}'", "", f"of candidates, {facts['role']}, {kind}")
    return table


def _data_table(data: Mapping[str, Any]) -> Table:
    title = f"data: {data['users']:,} users, {data['items']:,} items in the log, {data['catalogue_items']:,} to rank"
    splits = {split: SplitCounts.from_json(counts) for split, counts in data["splits"].items()}
    return splits_table(title, splits, first="first request (UTC)", last="last request (UTC)")


def _requests_table(metrics: Mapping[str, Any]) -> Table:
    """Ranking within requests; dashes of a model that was evaluated before it was measured."""
    overall = {split: slices["overall"] for split, slices in metrics.items()}
    names = (*by_request(cut_offs(name for values in overall.values() for name in values)), "skipped_requests")
    table = Table(title="ranking within requests with a click, as the Evaluator has it", title_justify="left")
    table.add_column("split", no_wrap=True)
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for split, values in overall.items():
        shown = ("-" if (value := values.get(name)) is None else f"{value:.4f}" for name in names)
        table.add_row(split, *shown)
    return table


def _metrics_table(training: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> Table:
    best = f"epoch {training['best_epoch'] + 1} of {training['epochs']}"
    table = Table(title="metrics", title_justify="left")
    table.add_column("of", no_wrap=True)
    columns = (*SHOWN, _PENALISED)
    for metric in columns:
        table.add_column(metric.replace("_", " "), justify="right")
    logged = training["metrics"]
    # What is minimised is no log loss: penalties on weights are part of it.
    of_train = {"auc": logged.get("auc"), _PENALISED: logged.get("loss")}
    if "val_auc" in logged:
        rows = {
            f"train, {best}": of_train,
            f"eval, {best}": {"auc": logged["val_auc"], _PENALISED: logged.get("val_loss")},
        }
    else:
        # A refit trains on both.
        rows = {f"train and eval, refitted, {best}": of_train}
    for split, slices in (evaluation["metrics"] if evaluation is not None else {}).items():
        overall = slices["overall"]
        rows[f"{split}, by the Evaluator"] = overall
        for objective in objectives_in(overall):
            rows[f"{split}, {objective}"] = {metric: overall.get(f"{objective}/{metric}") for metric in SHOWN}
    for name, values in rows.items():
        shown = ("" if (value := values.get(metric)) is None else f"{value:.4f}" for metric in columns)
        table.add_row(name, *shown)
    return table
