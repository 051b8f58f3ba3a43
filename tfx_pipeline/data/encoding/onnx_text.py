"""A text encoder in an ONNX file: texts in, vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.messages import first_line
from tfx_pipeline.config.encoders import TextEncoder
from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.encoding.contents import Contents, Encoded
from tfx_pipeline.data.encoding.onnx_model import (
    check_files,
    chosen_output,
    encoder_digest,
    lacks,
    listed,
    load_model,
)
from tfx_pipeline.data.encoding.texts import text_contents, text_items
from tfx_pipeline.errors import ConfigError, DataError

# What such models call their inputs, and what a tokenizer calls the same.
_INPUTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
_INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_TOKENS, _VECTORS = 3, 2


class OnnxTextEncoder:
    """Runs an ONNX model of token ids. A batch is padded to its own longest text.

    Args:
        name: of the modality, for messages.
        settings: its section of the configuration.

    Attributes:
        width: of the vectors.
        digest: 16 hex digits; of other files or settings that change vectors it is another.
        block: texts between two files on disk, which is what a kill can cost.

    Raises:
        ConfigError: a library is not installed, a file is missing, or a model has other inputs or outputs than these.
    """

    block = 4096

    def __init__(self, name: str, settings: TextEncoder):
        self._name, self._key, self._settings = name, f"encoders.{name}", settings
        check_files(self._key, model=settings.model, tokenizer=settings.tokenizer)
        self._tokenizer = self._load_tokenizer()
        self._session = load_model(self._key, settings.model, settings.threads)
        self._inputs = self._check_inputs()
        self._output, self.width = self._check_output()
        made_by = (self._output, settings.pooling, settings.max_tokens)
        self.digest = encoder_digest(settings.model, [settings.tokenizer], made_by)

    def read(self, table: ItemTable) -> Contents:
        """The texts of the catalogue.

        Raises:
            DataError: the catalogue cannot be read, or no item has a text.
        """
        return text_contents(text_items(self._name, table, self._settings.columns), self.digest)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The vectors of texts, which must not be empty, in their order.

        Raises:
            DataError: the model fails, or gives a value that is not finite; the text is named.
        """
        tokens = self._tokenizer.encode_batch(list(texts))
        lengths = np.array([len(each.ids) for each in tokens])
        vectors = np.empty((len(texts), self.width), np.float32)
        order = np.argsort(lengths, kind="stable")
        for first in range(0, len(texts), self._settings.batch_size):
            rows = order[first : first + self._settings.batch_size]
            vectors[rows] = self._run([tokens[row] for row in rows], texts[rows[0]])
        if not np.isfinite(vectors).all():
            row = int(np.argmin(np.isfinite(vectors).all(axis=1)))
            raise DataError(
                f"{self._key}: {self._settings.model} gives no finite vector for the text {texts[row]!r:.80}"
            )
        return Encoded(vectors, np.array([bool(each.overflowing) for each in tokens]), {})

    def _run(self, tokens: Sequence[Any], text: str) -> np.ndarray:
        longest = max(len(each.ids) for each in tokens)
        feed = {name: np.zeros((len(tokens), longest), dtype) for name, dtype in self._inputs.items()}
        mask = np.zeros((len(tokens), longest), np.float32)
        for row, each in enumerate(tokens):
            mask[row, : len(each.ids)] = each.attention_mask
            for name, values in feed.items():
                values[row, : len(each.ids)] = getattr(each, _INPUTS[name])
        try:
            (found,) = self._session.run([self._output], feed)
        except Exception as error:
            # The library has no common base of its exceptions.
            raise DataError(
                f"{self._key}: {self._settings.model} fails on a batch that begins with the text {text!r:.80}: "
                f"{first_line(error)}. Are model and tokenizer of one another?"
            ) from None
        if found.ndim == _VECTORS:
            return np.asarray(found, np.float32)
        if self._settings.pooling == "first":
            return np.asarray(found[:, 0], np.float32)
        pooled: np.ndarray = np.einsum("btd,bt->bd", found, mask) / np.maximum(mask.sum(axis=1, keepdims=True), 1)
        return pooled

    def _load_tokenizer(self) -> Any:
        try:
            import tokenizers
        except ImportError:
            raise lacks(self._key, "tokenizers") from None
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(self._settings.tokenizer))
            tokenizer.no_padding()
            tokenizer.enable_truncation(max_length=self._settings.max_tokens)
        except Exception as error:
            # The library raises plain `Exception`.
            raise ConfigError(
                f"{self._key}.tokenizer: {self._settings.tokenizer} cannot be used: {first_line(error)}"
            ) from None
        return tokenizer

    def _check_inputs(self) -> dict[str, Any]:
        """By name the dtypes of what the model takes."""
        found = {each.name: each.type for each in self._session.get_inputs()}
        known = all(name in _INPUTS and kind in _INTEGERS for name, kind in found.items())
        if "input_ids" not in found or not known:
            raise ConfigError(
                f"{self._key}.model: {self._settings.model} takes {listed(found)}; expected input_ids and no more "
                f"than {', '.join(_INPUTS)}, of int64 or int32: a model of token ids"
            )
        return {name: _INTEGERS[kind] for name, kind in found.items()}

    def _check_output(self) -> tuple[str, int]:
        """The name of the output, and its width."""
        name = chosen_output(self._key, self._session, self._settings.model, self._settings.output)
        found = {each.name: each.shape for each in self._session.get_outputs()}
        shape = found[name]
        if len(shape) not in (_VECTORS, _TOKENS) or not isinstance(shape[-1], int):
            raise ConfigError(
                f"{self._key}.output: '{name}' of {self._settings.model} has the shape {shape}; expected vectors "
                f"[items, width] or token vectors [items, tokens, width] of a known width; outputs: {', '.join(found)}"
            )
        return name, shape[-1]
