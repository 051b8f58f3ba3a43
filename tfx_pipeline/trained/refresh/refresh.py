"""A new version of a served model whose tables of items hold the catalogue of today. Nothing is trained."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from serving import contract
from serving.export.metadata import library_versions, read_json, write_json
from serving.export.servable_check import check_servable
from serving.manifest import describe
from serving.messages import first_line
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.stages import Approximate
from tfx_pipeline.console import console
from tfx_pipeline.data.content.build import check_encoded
from tfx_pipeline.data.content.refresh import RefreshedContent, refresh_content
from tfx_pipeline.data.content.table import ItemContentTable, write_content
from tfx_pipeline.errors import ConfigError, ModelError
from tfx_pipeline.evaluation.item_facts import read_item_facts
from tfx_pipeline.files.json_values import now
from tfx_pipeline.files.output_folder import hold_output
from tfx_pipeline.files.reading import read_text
from tfx_pipeline.files.stored_versions import publish_versions
from tfx_pipeline.files.versions import next_version
from tfx_pipeline.files.writing import remove_unfinished, write_text, writing_folder
from tfx_pipeline.runners.peak_memory import PeakMemory
from tfx_pipeline.trained.refresh.record import ContentCounts, RefreshRecord
from tfx_pipeline.trained.run_artifacts import TRAINED_CONTENT, RunArtifacts, loading_keras
from tfx_pipeline.trained.version import Version
from tfx_pipeline.training import golden
from tfx_pipeline.training.item_tables import weights_digest, with_tables
from tfx_pipeline.training.metadata import RetrievalFacts, write_refreshed_metadata
from tfx_pipeline.training.retrieval.approximate import check_library, write_approximate
from tfx_pipeline.training.retrieval.stage import read_towers, retrieval_stage
from tfx_pipeline.training.served_model import OfItems, ServingOptions, write_served_model
from tfx_pipeline.transform.dataset import split_files

_STEP = "ContentRefresh"
_EXAMPLES = 3
_NEEDED = ("model_run", "transform_graph", "content")
_AGAIN = "train it again: dmf run"


class _Refused(Exception):
    """The gate found problems, which are its arguments."""


def refresh(
    config: PipelineConfig,
    model: Path | None = None,
    *,
    run: Path | None = None,
    dry_run: bool = False,
    say: Callable[[RefreshRecord], None] = lambda record: None,
) -> RefreshRecord:
    """Makes the next version of a model, with the catalogue and the embeddings that the configuration names now.

    Args:
        config: the validated configuration.
        model: folder of the versions, or one of them; None: where the configuration pushes to.
        run: output folder of the run that trained the model, if it was moved.
        dry_run: whether to find out what there is to do, and do nothing.
        say: is told of that before anything is done.

    Returns:
        What was done. Its `version` is None where nothing changed or the gate refuses.

    Raises:
        ModelError: there is no pushed model, or it lacks what is needed.
        ConfigError: columns or modalities of items are not those of the model.
        DataError: the catalogue or embeddings cannot be used, or not by this model.
    """
    started = time.monotonic()
    with PeakMemory() as memory, hold_output(config.output, "refresh"):
        try:
            version = Version.find(model or config.push_dir)
        except ModelError as error:
            raise ModelError(f"{error}; push one first: dmf run") from None
        job = _Refresh(config, version, run)
        with console().status("reading the catalogue and the embeddings"):
            record = job.plan()
        say(record)
        if record.anything and not dry_run:
            record = job.push(record, started)
        if not dry_run:
            # Also what an earlier refresh could not publish.
            publish_versions(version.path.parent)
        return dataclasses.replace(
            record, seconds=round(time.monotonic() - started, 1), peak_memory_mb=round(memory.mebibytes)
        )


class _Refresh:
    """One refresh of one version."""

    def __init__(self, config: PipelineConfig, version: Version, run: Path | None):
        self._config, self._version = config, version
        if version.number is None:
            raise ModelError(
                f"{version.path} is no version of a served model, whose folders have numbers; give the folder of "
                "versions in --model"
            )
        self._base = version.path.parent
        self._contract = version.contract
        if not (version.path / contract.METADATA_FILE).exists():
            raise self._lacks("metadata of its training")
        self._artifacts = RunArtifacts.of(version.path, run)
        self._metadata = self._artifacts.metadata
        stored = self._metadata.get("artifacts", {})
        needed = (*_NEEDED, *(["retrieval_run"] if self._contract.retrieval_items else []))
        needed += ("requests",) if self._approximate is not None else ()
        for name in needed:
            if name not in stored:
                raise self._lacks(f"'{name}' among the artifacts of its metadata")
            self._artifacts.folder(name)
        try:
            self._golden = json.loads(read_text(version.path / contract.GOLDEN_FILE))
            self._ingestion = version.ingestion()
        except (OSError, ValueError) as error:
            raise self._lacks(f"a file that can be read ({first_line(error)})") from None
        check_library(self._approximate)

    @functools.cached_property
    def _before(self) -> ItemContentTable:
        return self._artifacts.content()

    @functools.cached_property
    def _found(self) -> RefreshedContent:
        columns = self._artifacts.features.item
        given = self._config.features.item
        if differing := sorted(name for name in {*columns, *given} if columns.get(name) != given.get(name)):
            raise ConfigError(
                f"features.item.{differing[0]}: not as it was when the model was trained, and weights of the model "
                "hang on it; set it as it was, or train a model with it: dmf run"
            )
        content = self._config.content
        for name in {content.tuned.get(name, name) for name in self._before.modalities} & set(content.modalities):
            check_encoded(self._config, name)
        return refresh_content(self._config.data.items, content, columns, self._before)

    @property
    def _approximate(self) -> Approximate | None:
        """How the index beside the model is made; None: there is none."""
        record = (self._metadata.get("retrieval") or {}).get("approximate")
        if record is None:
            return None
        names = ("connectivity", "expansion_add", "expansion_search", "at")
        values = {name: record[name] for name in names}
        if (given := self._given_approximate) is not None:
            # Of a small catalogue `at` was cut.
            values["at"] = given.at
        return Approximate(**values)

    @property
    def _given_approximate(self) -> Approximate | None:
        stages = self._config.stages
        return None if stages is None else stages.retrieval.approximate

    def plan(self) -> RefreshRecord:
        """What there is to do."""
        found, before = self._found, self._before
        table, refreshed = found.table, self._metadata.get("refresh") or {}
        tables = [facts["table_bytes"] for facts in self._metadata["content"]["modalities"].values()]
        rows = (1 + len(table.item_ids)) / (1 + len(before.item_ids))
        index = (self._metadata.get("retrieval") or {}).get("index_bytes", 0)
        items, items_before = len(table.catalogue_ids), len(before.catalogue_ids)
        lists = {"new": found.new, "changed": found.changed, "removed": found.removed}
        vocabulary = set(self._version.item_vocabulary())
        trained = set(self._artifacts.trained_items())
        return RefreshRecord(
            model=str(self._base),
            of_version=self._version.path.name,
            trained=self._metadata["created"],
            items_before=items_before,
            items_now=items,
            new=len(found.new),
            changed=len(found.changed),
            removed=len(found.removed),
            retired=table.retired,
            untrained_ids=sum(item in vocabulary and item not in trained for item in found.new),
            examples={name: tuple(ids[:_EXAMPLES]) for name, ids in lists.items()},
            content={
                name: ContentCounts(before.modalities[name].coverage.present, matrix.coverage.present)
                for name, matrix in table.modalities.items()
            },
            bytes_before=sum(tables) + index,
            bytes_now=round(sum(tables) * rows + index * items / items_before),
            seconds_last=refreshed.get("seconds"),
            index_seconds_last=((self._metadata.get("retrieval") or {}).get("approximate") or {}).get("build_seconds"),
        )

    def push(self, record: RefreshRecord, started: float) -> RefreshRecord:
        """Makes the version, checks it and lets it appear."""
        table = self._found.table
        folder = self._artifacts.folder("content").parents[2] / _STEP / "content" / table.version
        if not folder.exists():
            write_content(table, folder)
        if self._base == self._config.push_dir:
            remove_unfinished(self._base)
        final = Path(next_version(self._base))
        try:
            with writing_folder(final) as incoming:
                facts = self._write(incoming, folder, record, started)
                with console().status("checking the model as a server loads it"):
                    record = self._checked(incoming, record, facts)
                write_json(incoming, contract.MANIFEST_FILE, describe(incoming))
        except _Refused as refused:
            return dataclasses.replace(record, problems=refused.args)
        return dataclasses.replace(record, version=final.name)

    def _write(self, directory: Path, folder: Path, record: RefreshRecord, started: float) -> RetrievalFacts | None:
        """Exports the model with its new tables and all that lies beside it."""
        table, artifacts = self._found.table, self._artifacts
        with console().status("putting the tables into the model"), loading_keras(self._version.path):
            items = artifacts.trained_items()
            trained = artifacts.trained_model()
            digest = weights_digest(trained)
            model = with_tables(trained, table, items)
            del trained
            served = model.for_serving(self._contract.precision)
            transform = artifacts.transform(folder)
            stage = None
            if self._contract.retrieval_items:
                towers = with_tables(read_towers(artifacts.folder("retrieval_run")), table, items)
                weight = self._contract.retrieval_weight
                stage = retrieval_stage(towers, transform, table, served, self._ranked, weight)
        options = ServingOptions(
            name=self._contract.model,
            served_name=self._metadata["served_name"],
            max_history=self._contract.max_history,
            explain=contract.EXPLAIN in self._contract.signatures,
            formula=self._contract.formula,
            warmup_candidates=self._config.serving.warmup_candidates,
            evaluation=read_item_facts(self._version.path).evaluation,
        )
        requests = golden.requests_of(self._golden)
        with console().status("exporting the model"):
            of_items = OfItems(transform, artifacts.tft_output(), table)
            write_served_model(
                directory, model, served, of_items, options, lambda written: requests, stage, self._found.new
            )
        facts = None
        if stage is not None:
            facts = self._retrieval_facts(stage.index.items, stage.ranked)
            if self._approximate is not None:
                with console().status("making the approximate index"):
                    eval_files = split_files(artifacts.folder("requests"), "eval")
                    made = write_approximate(directory, stage, transform, eval_files, self._approximate)
                facts = dataclasses.replace(facts, approximate=dataclasses.asdict(made))
        data = self._ingestion.data.model_copy(update={"items": self._config.data.items})
        write_text(directory / contract.LOGS_FILE, self._ingestion.model_copy(update={"data": data}).to_json())
        self._write_evaluation(directory, record)
        write_refreshed_metadata(
            directory,
            self._metadata,
            model=served,
            content=table,
            retrieval=facts,
            artifacts={
                **self._metadata["artifacts"],
                TRAINED_CONTENT: self._metadata["artifacts"][artifacts.trained_content],
                "content": str(folder),
            },
            refresh={
                "created": now(),
                "of_version": record.of_version,
                "weights_version": self._of_weights.get("weights_version", record.of_version),
                "weights_digest": digest,
                "trained_content": self._of_weights.get("trained_content", self._before.version),
                "retired": table.retired,
                "new": record.new,
                "changed": record.changed,
                "removed": record.removed,
                "seconds": round(time.monotonic() - started, 1),
                "versions": library_versions(),
            },
        )
        return facts

    def _checked(self, directory: Path, record: RefreshRecord, facts: RetrievalFacts | None) -> RefreshRecord:
        """Raises _Refused unless the gate lets the model pass and unchanged items score as before."""
        given = self._given_approximate
        has_index = facts is not None and facts.approximate is not None
        allowed = self._config.serving.max_score_difference
        problems, _ = check_servable(
            directory, allowed, min_recall=given.min_recall if given is not None and has_index else None
        )
        problems += _broken_promises(self._contract, contract.ModelContract.read(directory))
        difference = self._largest_difference(directory)
        if difference is not None and not difference <= allowed:
            problems.append(
                f"golden requests: scores of items that have not changed differ by {difference:.2e} from those of "
                f"version {record.of_version}, allowed {allowed:.2e}"
            )
        if problems:
            raise _Refused(*problems)
        recall = facts.approximate["recall"] if facts is not None and facts.approximate is not None else None
        return dataclasses.replace(record, largest_difference=difference, index_recall=recall)

    def _largest_difference(self, directory: Path) -> float | None:
        """Of golden requests' scores from those before, of items and histories that are as they were."""
        affected = {*self._found.new, *self._found.changed}
        before = {entry["case"]: entry for entry in self._golden}
        largest = None
        for entry in json.loads(read_text(directory / contract.GOLDEN_FILE)):
            request, other = entry["request"], before.get(entry["case"])
            carries = any(name.startswith(contract.CONTENT_PREFIX) for name in request)
            histories = [item for name in self._contract.histories for item in request.get(name) or []]
            if other is None or other["request"] != request or carries or affected & set(histories):
                continue
            pairs = zip(request[contract.CANDIDATE_ITEM_ID], entry["scores"], other["scores"], strict=True)
            apart = [abs(score - earlier) for item, score, earlier in pairs if item not in affected]
            largest = max([*apart, *([] if largest is None else [largest])], default=largest)
        return largest

    def _retrieval_facts(self, items: int, ranked: int) -> RetrievalFacts:
        before = RetrievalFacts.from_json(self._metadata["retrieval"])
        size = before.index_bytes // before.items
        return dataclasses.replace(
            before, items=items, index_bytes=size * items, ranked_candidates=ranked, approximate=None
        )

    @property
    def _ranked(self) -> int:
        """Items that `recommend` ranks: of a small catalogue the version before has fewer than were configured."""
        stages = self._config.stages
        return self._contract.ranked_candidates if stages is None else stages.ranking.candidates

    @property
    def _of_weights(self) -> Mapping[str, Any]:
        """What an earlier refresh said of the training."""
        return self._metadata.get("refresh") or {}

    def _write_evaluation(self, directory: Path, record: RefreshRecord) -> None:
        """The metrics, which are of the model before its tables were refreshed; nothing where it has none."""
        evaluation = read_json(self._version.path, contract.EVALUATION_FILE)
        if evaluation is None:
            return
        weights = self._of_weights.get("weights_version", record.of_version)
        note = f"The tables of items were refreshed after training; all metrics are of version {weights}."
        earlier = "" if self._of_weights else evaluation.get("note", "")
        write_json(directory, contract.EVALUATION_FILE, {**evaluation, "note": f"{earlier} {note}".strip()})

    def _lacks(self, what: str) -> ModelError:
        return ModelError(f"{self._version.path} lacks {what}, so its tables cannot be refreshed; {_AGAIN}")


def _broken_promises(before: contract.ModelContract, after: contract.ModelContract) -> list[str]:
    """What a client that knows the contract before would miss; signatures and outputs may be more."""
    missing = []
    for name, sides in before.signatures.items():
        found = after.signatures.get(name, {"inputs": {}, "outputs": {}})
        outputs = {key: spec for key, spec in found["outputs"].items() if key in sides["outputs"]}
        if found["inputs"] != sides["inputs"] or outputs != sides["outputs"]:
            missing.append(name)
    return [f"signatures {missing} are not those of the version before"] if missing else []
