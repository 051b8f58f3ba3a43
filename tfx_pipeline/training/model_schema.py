"""What a model is told of the data: sizes of its tables, content vectors, and the items there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow_transform as tft

from dmf_keras.models.inputs import ItemColumnSpec, ModalitySpec, RankingSchema
from tfx_pipeline.config.columns import Categorical, Numeric, of_several
from tfx_pipeline.config.label import AGES, CANDIDATES, ITEMS, SEQUENCES
from tfx_pipeline.config.objectives import Objective, specs
from tfx_pipeline.config.schema import Features
from tfx_pipeline.data.content.codes import CodeTable
from tfx_pipeline.data.content.table import ItemContentTable
from tfx_pipeline.evaluation.known_users import KnownUsers
from tfx_pipeline.files.reading import read_lines
from tfx_pipeline.transform import transformed_features


def ranking_schema(
    features: Features,
    tft_output: tft.TFTransformOutput,
    content: ItemContentTable,
    modalities: Sequence[str] = (),
    without: Sequence[str] = (),
    serving_values: Mapping[str, float] | None = None,
    objectives: Mapping[str, Objective] | None = None,
    age_buckets: int | None = None,
    histories: Sequence[str] = (),
    item_statistics: Sequence[str] = (),
) -> RankingSchema:
    """Sizes of the model's tables, from the vocabularies and the content artifact. Row 0 is padding everywhere.

    Args:
        features: of the configuration.
        tft_output: has the vocabularies.
        content: the content artifact.
        modalities: those that the model is given, and codes of them alone; none named: all.
        without: `items`: the model does not see the columns of items; `candidates`: nor those of candidates; `ages`:
            nor how long ago the events of a history were; `sequences`: nor further histories.
        serving_values: of candidate columns with role bias, see `RequestTransform.serving_values`.
        objectives: the section of the configuration; None or empty: one.
        age_buckets: `history.age_buckets` of the configuration.
        histories: names of further histories, `history.sequences` of the configuration.
        item_statistics: counts of items that the model reads, see `ModelConfig.reads_statistics`.
    """

    def rows(vocabulary: str, oov_buckets: int) -> int:
        return 1 + tft_output.vocabulary_size_by_name(vocabulary) + oov_buckets

    def by_kind(columns: Mapping[str, Categorical | Numeric]) -> tuple[dict[str, int], tuple[str, ...]]:
        """Rows of those that are embedded, and the names of the others."""
        embedded = {
            name: rows(transformed_features.column_vocabulary(name), column.oov_buckets)
            if isinstance(column, Categorical)
            else 1 + column.buckets
            for name, column in columns.items()
            if isinstance(column, Categorical) or column.scaling == "quantiles"
        }
        return embedded, tuple(name for name in columns if name not in embedded)

    columns = {**features.user, **features.context}
    several = of_several(columns)
    categorical, numeric = by_kind({name: column for name, column in columns.items() if name not in several})
    of_candidates = {} if CANDIDATES in without else features.candidate
    candidate_categorical, candidate_numeric = by_kind(of_candidates)
    codes = content.codes
    if codes is not None and modalities and codes.of not in modalities:
        codes = None
    return RankingSchema(
        item_rows=rows(transformed_features.ITEM_VOCABULARY, features.item_id.oov_buckets),
        user_rows=rows(transformed_features.USER_VOCABULARY, features.user_id.oov_buckets)
        if features.user_id
        else None,
        categorical=categorical,
        numeric=numeric,
        modalities={
            name: ModalitySpec(width=modality.width, dtype=modality.storage_dtype)
            for name, modality in content.modalities.items()
            if not modalities or name in modalities
        },
        content_rows=1 + len(content.item_ids),
        item_columns={
            name: ItemColumnSpec(column.rows, column.width)
            for name, column in content.columns.items()
            if ITEMS not in without
        },
        candidate_categorical=candidate_categorical,
        candidate_numeric=candidate_numeric,
        candidate_bias={name: value for name, value in (serving_values or {}).items() if name in of_candidates},
        objectives=specs(objectives or {}),
        categorical_lists=by_kind(several)[0],
        history_age_buckets=None if AGES in without else age_buckets,
        histories=() if SEQUENCES in without else tuple(histories),
        item_statistics=tuple(item_statistics),
        item_codes=(codes.size,) * codes.values.shape[1] if codes is not None else (),
    )


def item_column_rows(content: ItemContentTable) -> dict[str, np.ndarray]:
    """Item columns by content row, [items + 1, ...]; row 0 is an item outside the catalogue."""
    return {
        name: np.concatenate([np.zeros_like(column.values[:1]), column.values])
        for name, column in content.columns.items()
    }


def item_code_rows(codes: CodeTable) -> np.ndarray:
    """Codes by content row, int32 [items + 1, levels]; row 0 is an item outside the catalogue."""
    return np.concatenate([np.zeros_like(codes.values[:1]), codes.values])


def content_rows(content: ItemContentTable, modality: str) -> tuple[np.ndarray, np.ndarray]:
    """A modality's vectors [items + 1, width] and presence [items + 1]; row 0 is the item without content."""
    table = content.modalities[modality]
    vectors = np.concatenate([np.zeros_like(table.vectors[:1]), table.vectors])
    return vectors, np.concatenate([[False], table.present])


def content_bases(content: ItemContentTable) -> dict[str, np.ndarray]:
    """The projections [source width, width] of the modalities that were reduced."""
    return {name: matrix.basis for name, matrix in content.modalities.items() if matrix.basis is not None}


def known_items(
    tft_output: tft.TFTransformOutput, content: ItemContentTable
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Every item of the catalogue, then those of the train split that the catalogue lacks.

    Returns:
        Raw ids [I]; impressions in the train split int64 [I]; bool [I], whether the item has at least one modality.
    """
    counts = train_impressions(tft_output)
    trained_only = sorted(set(counts) - set(content.item_ids))
    ids = [*content.item_ids, *trained_only]
    impressions = np.array([counts.get(item, 0) for item in ids], np.int64)
    return ids, impressions, np.concatenate([content.covered, np.zeros(len(trained_only), bool)])


def known_users(tft_output: tft.TFTransformOutput) -> KnownUsers | None:
    """Users of the train split that have an ID of their own; None where models have no IDs of users."""
    path = tft_output.vocabulary_file_by_name(transformed_features.USER_VOCABULARY)
    return None if path is None else KnownUsers.of(read_lines(path))


def train_impressions(tft_output: tft.TFTransformOutput) -> dict[str, int]:
    """Impressions of each item in the train split, as Transform counted them."""
    path = tft_output.vocabulary_file_by_name(transformed_features.ITEM_COUNTS)
    assert path is not None, "preprocessing writes it"
    counts = {}
    for line in read_lines(path):
        count, item = line.split(" ", 1)
        counts[item] = int(count)
    return counts
