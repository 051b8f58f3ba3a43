"""The Beam steps that a log of positives alone needs beside: tables of negatives, and what negatives are drawn from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np

from tfx_pipeline.config.negatives import GivenNegatives, Negatives
from tfx_pipeline.config.schema import SPLITS
from tfx_pipeline.data.examples.negatives import NegativePool
from tfx_pipeline.data.examples.requests import RowChunk, RowTuple
from tfx_pipeline.data.examples.splits import Cuts
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.cleaning import refusing_column
from tfx_pipeline.data.logs.reader import Piece, read_piece
from tfx_pipeline.data.logs.tally import TallyingDoFn
from tfx_pipeline.errors import DataError


class ReadNegatives(TallyingDoFn):
    """Piece of a table of negatives -> (user, (split, ids)); rows without a user are passed over."""

    def __init__(self, split: str, table: GivenNegatives) -> None:
        self._split = split
        self._table = table

    def process(self, piece: Piece) -> Iterator[tuple[str, tuple[str, list[bytes]]]]:  # noqa: D102
        user_column, items_column = self._table.user_column, self._table.items_column
        try:
            for batch in read_piece(piece, (user_column, items_column), [items_column]):
                for row, text in batch.malformed:
                    raise DataError(f"{piece.file.path}: row {row} is no row of a user and a list of items: {text}")
                with refusing_column(piece.file, user_column, batch):
                    users = values.text(batch.columns[user_column]).to_pylist()
                with refusing_column(piece.file, items_column, batch):
                    items = values.ids(batch.columns[items_column])
                yield from ((user, (self._split, ids)) for user, ids in zip(users, items, strict=True) if user)
        except DataError as error:
            self.tally.add("unreadable", str(error))


class MakePool(TallyingDoFn):
    """The section `negatives` -> `NegativePool`. Side inputs: ids of the catalogue, positives in train by item."""

    def process(  # noqa: D102
        self, negatives: Negatives, catalogue: Iterable[bytes], positives: dict[bytes, int]
    ) -> Iterator[NegativePool]:
        pool = NegativePool.of(set(catalogue), positives, negatives)
        asked = max(count for split in SPLITS if isinstance(count := negatives.of(split), int))
        if asked > len(pool.items):
            what = "items are in the catalogue" if negatives.by == "uniform" else "of its items have positives in train"
            self.tally.add(
                "unreadable",
                f"negatives: {asked:,} different items are to be drawn for a positive, but {len(pool.items):,} {what}; "
                "ask for fewer",
            )
        yield pool


def negative_pool(
    negatives: Negatives, catalogue: beam.PCollection, log: beam.PCollection, cuts: beam.PCollection
) -> tuple[beam.PCollection, beam.PCollection]:
    """The one `NegativePool`, and a tally.

    Args:
        negatives: the section of the configuration.
        catalogue: (item, 0) of each row of it.
        log: (user, rows) of `ReadLog`.
        cuts: the one `Cuts`.
    """
    positives = cuts.pipeline | "NoPositives" >> beam.Create([])
    if negatives.by == "popularity":
        counted = log | "TrainPositives" >> beam.FlatMap(_train_positives, beam.pvalue.AsSingleton(cuts))
        positives = counted | "SumPositives" >> beam.CombinePerKey(sum)
    items = beam.pvalue.AsList(catalogue | "CatalogueIds" >> beam.Keys())
    made = (
        cuts.pipeline
        | "Negatives" >> beam.Create([negatives])
        | "MakePool" >> beam.ParDo(MakePool(), items, beam.pvalue.AsDict(positives)).with_outputs(main="pool")
    )
    return made["pool"], made[MakePool.TALLY]


def _train_positives(element: tuple[str, RowTuple], cuts: Cuts) -> Iterator[tuple[bytes, int]]:
    """(user, rows) -> (item, 1) of every positive row of the train split: nothing later may tell what is drawn."""
    chunk = RowChunk(*element[1])
    positive = np.frombuffer(chunk.label, np.int8) == 1
    times = np.frombuffer(chunk.time_us, np.int64)
    train = times < cuts.eval_from_us
    if cuts.train_from_us is not None:
        train &= times >= cuts.train_from_us
    yield from ((chunk.item[place], 1) for place in np.flatnonzero(positive & train).tolist())
