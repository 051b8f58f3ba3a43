"""A file of vectors that tells what each was made of, so that only what is new or changed is made again."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serving.messages import first_line
from tfx_pipeline.config.content import Modality
from tfx_pipeline.data.content.embeddings import ENCODER
from tfx_pipeline.errors import DataError
from tfx_pipeline.files.writing import writing

SOURCE, CUT = "source", "cut"
"""Columns beside ids and vectors: a digest of encoder and text, and whether the text was cut."""
_BLOCK_ROWS = 16_384


class KnownVectors:
    """Vectors by source, of an earlier file and of an encoding that was killed, and what is added to them.

    Args:
        path: of the file.
        modality: names the column of vectors.
        width: of the vectors; those of another width are none.

    Raises:
        DataError: the file was not written by `dmf encode`, or cannot be read.
    """

    def __init__(self, path: Path, modality: Modality, width: int):
        self._path, self._modality, self._width = path, modality, width
        self._blocks: list[np.ndarray] = []
        self._cuts: list[np.ndarray] = []
        # Of each source the block, and the row in it.
        self._places: dict[str, tuple[int, int]] = {}
        self._parts = sorted(self._folder.glob("*.parquet")) if self._folder.is_dir() else []
        for file in [*([path] if path.exists() else []), *self._parts]:
            self._read(file)

    def __contains__(self, source: str) -> bool:
        return source in self._places

    def add(self, sources: Sequence[str], vectors: np.ndarray, cut: np.ndarray) -> None:
        """Keeps vectors, on disk too until `write`.

        Args:
            sources: of the rows.
            vectors: float32 [sources, width].
            cut: bool [sources].
        """
        part = self._folder / f"{len(self._parts):06d}-{secrets.token_hex(4)}.parquet"
        with writing(part) as file:
            pq.write_table(self._table(sources, vectors, cut), file, write_page_checksum=True)
        self._parts.append(part)
        self._keep(sources, vectors, cut)

    def write(self, ids: Sequence[str], sources: Sequence[str], encoder: str) -> int:
        """Replaces the file by the vectors of items, and forgets the parts; returns how many items' texts were cut.

        Args:
            ids: of the items, at least one.
            sources: of the items, all known.
            encoder: digest of what made the vectors, which the file will tell.
        """
        cuts = 0
        with writing(self._path) as file, contextlib.ExitStack() as stack:
            writer = None
            for first in range(0, len(ids), _BLOCK_ROWS):
                own = sources[first : first + _BLOCK_ROWS]
                places = [self._places[source] for source in own]
                vectors = np.empty((len(own), self._width), np.float32)
                cut = np.zeros(len(own), bool)
                for row, (block, place) in enumerate(places):
                    vectors[row], cut[row] = self._blocks[block][place], self._cuts[block][place]
                table = self._table(own, vectors, cut)
                table = table.add_column(
                    0, self._modality.id_column, pa.array(ids[first : first + len(own)], pa.string())
                )
                table = table.replace_schema_metadata({ENCODER: encoder})
                if writer is None:
                    writer = stack.enter_context(pq.ParquetWriter(file, table.schema, write_page_checksum=True))
                writer.write_table(table)
                cuts += int(cut.sum())
        for part in self._parts:
            part.unlink(missing_ok=True)
        # Another process may have parts of its own in it.
        with contextlib.suppress(OSError):
            self._folder.rmdir()
        return cuts

    @property
    def _folder(self) -> Path:
        return self._path.with_name(f".{self._path.name}.parts")

    def _table(self, sources: Sequence[str], vectors: np.ndarray, cut: np.ndarray) -> pa.Table:
        flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
        offsets = pa.array(np.arange(0, vectors.size + 1, max(1, self._width), dtype=np.int32))
        return pa.table(
            {
                self._modality.embedding_column: pa.ListArray.from_arrays(offsets, flat),
                SOURCE: pa.array(list(sources), pa.string()),
                CUT: pa.array(cut),
            }
        )

    def _read(self, file: Path) -> None:
        column = self._modality.embedding_column
        with _reading(file), pq.ParquetFile(file, page_checksum_verification=True) as opened:
            if missing := [name for name in (column, SOURCE, CUT) if name not in opened.schema_arrow.names]:
                raise DataError(
                    f"{file} has no column '{missing[0]}', so `dmf encode` did not write it, and will not replace it; "
                    "move it away, or name another file"
                )
            for batch in opened.iter_batches(_BLOCK_ROWS, columns=[column, SOURCE, CUT]):
                vectors = batch.column(0)
                if (np.asarray(vectors.value_lengths()) != self._width).any():
                    # Of another encoder, whose sources are others too.
                    return
                flat = vectors.flatten().to_numpy(zero_copy_only=False)
                self._keep(
                    batch.column(1).to_pylist(),
                    flat.reshape(-1, self._width).astype(np.float32),
                    batch.column(2).to_numpy(zero_copy_only=False).astype(bool),
                )

    def _keep(self, sources: Iterable[str], vectors: np.ndarray, cut: np.ndarray) -> None:
        self._places.update((source, (len(self._blocks), row)) for row, source in enumerate(sources))
        self._blocks.append(vectors)
        self._cuts.append(cut)


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, ValueError) as error:
        raise DataError(
            f"{file} cannot be read: {first_line(error)}. If it is damaged, remove it: what it held is encoded again"
        ) from None
