"""The signatures of a ranking model, exported: one scoring function behind all of them.

`keras.export.ExportArchive` is the one way that works in TensorFlow Serving for Keras 3: `tf.saved_model.save` of such
a model loads in TF2 and fails in the server's loader.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from dmf_keras.models.inputs import CANDIDATE_CONTENT_ROW, is_age, is_of_history
from dmf_keras.models.ranking_model import RankingModel
from serving import contract
from serving.export.atomic import written_whole
from serving.export.content_inputs import ContentInputs, of_each_candidate, of_each_history_item
from serving.export.graph import Graph, Specs, Tensors
from serving.export.retrieval import RetrievalStage, page_signature, recommended, retrieved, tracked, user_vector
from serving.export.servable import signature_defs
from serving.formula import Formula

# A function of raw tensors, and what it takes.
Endpoint = tuple[Callable[[Any], Tensors], Any]

# Of a model that is only asked, nobody takes gradients.
_WITHOUT_GRADIENTS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)


class Transform(Protocol):
    """Raw request tensors to model inputs; see `tfx_pipeline.transform.request_transform.RequestTransform`."""

    @property
    def user_inputs(self) -> dict[str, str]:
        """Raw profile and context inputs: name to `string` or `float32`."""

    @property
    def user_lists(self) -> Collection[str]:
        """Those of `user_inputs` that hold any number of values."""

    @property
    def history_ages(self) -> bool:
        """Whether there are ages of history items."""

    @property
    def further_histories(self) -> dict[str, int]:
        """Of each further history by name the most items that are used."""

    @property
    def trackables(self) -> list[Any]:
        """Lookup tables, files and layers that the exported functions use."""

    def user(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Model inputs of the user part."""

    @property
    def candidate_inputs(self) -> dict[str, str]:
        """Raw inputs of each candidate besides its id: name to `string` or `float32`."""

    def candidates(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Model inputs of string candidate ids [B, N] and of the `candidate_inputs` [B, N]."""

    def examples(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        """All model inputs of serialised `tf.Example`s [B]."""


def user_input_signature(
    transform: Transform, history_ages: bool = False, further_histories: Collection[str] = ()
) -> dict[str, tf.TensorSpec]:
    """Specs of everything raw that `user_tower` takes."""
    shapes = {name: [None, None] if name in transform.user_lists else [None] for name in transform.user_inputs}
    signature = {
        contract.USER_ID: tf.TensorSpec([None], tf.string, contract.USER_ID),
        contract.HISTORY_ITEM_ID: tf.TensorSpec([None, None], tf.string, contract.HISTORY_ITEM_ID),
    }
    if history_ages:
        signature[contract.HISTORY_AGE] = tf.TensorSpec([None, None], tf.float32, contract.HISTORY_AGE)
    for further in further_histories:
        name, ages = contract.further_history_items(further), contract.further_history_ages(further)
        signature[name] = tf.TensorSpec([None, None], tf.string, name)
        if history_ages:
            signature[ages] = tf.TensorSpec([None, None], tf.float32, ages)
    return signature | {name: tf.TensorSpec(shapes[name], dtype, name) for name, dtype in transform.user_inputs.items()}


def score_requests(model: RankingModel, transform: Transform, raw: Tensors, content: ContentInputs) -> tf.Tensor:
    """`score` [B, N] of raw requests by the live Keras model, of several objectives that of the first."""
    return answer_requests(model, transform, raw, content)[contract.SCORE]


def answer_requests(
    model: RankingModel, transform: Transform, raw: Tensors, content: ContentInputs, formula: str = ""
) -> dict[str, tf.Tensor]:
    """Outputs of raw requests by the live Keras model: what every exported signature must equal, see `scores`."""
    state = _user_state(model, user_model_inputs(transform, raw))
    return scores(model, state, candidate_model_inputs(transform, raw, content), formula)


def scores(model: RankingModel, state: Tensors, candidate_inputs: Tensors, formula: str = "") -> dict[str, tf.Tensor]:
    """The scores of candidates by the live Keras model, as its signatures name them.

    Args:
        model: trained.
        state: of `encode_user`.
        candidate_inputs: of the model.
        formula: of the objectives' probabilities; "": the first objective.

    Returns:
        `score` float32 [B, N]; where the model has several objectives also `score/NAME` of each.

    Raises:
        FormulaError: the formula is refused.
    """
    probabilities = model.probabilities(model.score(state, candidate_inputs))
    names = [objective.name for objective in model.schema.objectives]
    if not names:
        return {contract.SCORE: probabilities}
    by_name = {name: probabilities[..., place] for place, name in enumerate(names)}
    score = Formula(formula or names[0], names)(by_name)
    return {contract.SCORE: score} | {contract.SCORE_PREFIX + name: value for name, value in by_name.items()}


def explain_requests(
    model: RankingModel, transform: Transform, raw: Tensors, content: ContentInputs, formula: str = ""
) -> dict[str, tf.Tensor]:
    """Scores of raw requests and what `model.explain` tells of it, by the live Keras model.

    Dimension L is that of the transform's history: the items that the model uses, oldest first, and then padding.
    """
    inputs = {**user_model_inputs(transform, raw), **candidate_model_inputs(transform, raw, content)}
    state = _user_state(model, inputs)
    return {**model.explain(state, inputs), **scores(model, state, inputs, formula)}


def encode_user(model: RankingModel, transform: Transform, raw: Tensors) -> dict[str, tf.Tensor]:
    """The user's state of raw requests by the live Keras model, as `user_tower` gives it.

    A server that batches pads states of unequal length with each tensor's first element. Where that is padding of the
    history, what it adds is none of the user's history either: so every history begins with a place that is.
    """
    return _user_state(model, _from_padding_on(user_model_inputs(transform, raw)))


def _user_state(model: RankingModel, inputs: Tensors) -> dict[str, tf.Tensor]:
    """The user's state in dtypes that JSON and every client know: what a model computes in bfloat16 is float32 then."""
    state = model.encode_user(inputs)
    return {name: tf.cast(value, tf.float32) if value.dtype == tf.bfloat16 else value for name, value in state.items()}


def _from_padding_on(inputs: Tensors) -> dict[str, tf.Tensor]:
    """The model inputs of users, each history with a place of padding before the oldest item."""
    front = {
        # An age of 0 would be one.
        name: tf.pad(value, [[0, 0], [1, 0]], constant_values=math.nan if is_age(name) else 0)
        for name, value in inputs.items()
        if is_of_history(name)
    }
    return {**inputs, **front}


def export_model(
    model: RankingModel,
    transform: Transform,
    directory: Path,
    *,
    name: str,
    max_history: int,
    content_bases: Mapping[str, np.ndarray] | None = None,
    explain: bool = False,
    formula: str = "",
    retrieval: RetrievalStage | None = None,
) -> contract.ModelContract:
    """Writes the SavedModel and its contract; the directory appears whole or not at all.

    Args:
        model: the trained model, in the precision that it is to be served in, see `RankingModel.for_serving`.
        transform: raw strings to model inputs.
        directory: of the SavedModel; must not exist.
        name: the model's name in the registry, for the contract.
        max_history: longest history used, for the contract.
        content_bases: projections of the modalities whose width was reduced, see `ContentInputs`.
        explain: whether the signature `explain` is written too.
        formula: that `score` is, where the model has several objectives; "": the first of them.
        retrieval: what is exported with the model to find candidates; None: a request brings them.

    Returns:
        The contract that was written beside the model.
    """
    # What the whole model computes in, where that is not float32, is no precision to serve in.
    precision = contract.BFLOAT16 if model.dense_policy.compute_dtype == contract.BFLOAT16 else contract.FLOAT32
    content = ContentInputs(model, content_bases)
    readers = [model] if retrieval is None else [model, retrieval.tower]
    ages = transform.history_ages and any(reader.uses_history_ages for reader in readers)
    further = {name: most for name, most in transform.further_histories.items() if name in model.schema.histories}
    user_signature = user_input_signature(transform, ages, further)
    candidate_dtypes = {contract.CANDIDATE_ITEM_ID: "string", **transform.candidate_inputs}
    candidate_signature = {name: tf.TensorSpec([None, None], dtype, name) for name, dtype in candidate_dtypes.items()}
    examples_spec = tf.TensorSpec([None], tf.string, contract.EXAMPLES)

    # What signatures share is traced once.
    user_inputs = Graph(lambda raw: user_model_inputs(transform, raw), user_signature)
    encoded = Graph(_with_constant_kernels(model, lambda inputs: _user_state(model, inputs)), user_inputs.outputs)

    def scoring(signature: Specs) -> tuple[Graph, Graph]:
        """Model inputs of candidates that come as `signature` says, and the scores of a state and these inputs."""
        inputs = Graph(lambda raw: candidate_model_inputs(transform, raw, content), signature)
        score = _with_constant_kernels(model, lambda state, inputs: scores(model, state, inputs, formula))
        return inputs, Graph(score, encoded.outputs, inputs.outputs)

    def of_candidates(
        candidate: str, rank: str, signature: dict[str, tf.TensorSpec], inputs: Graph, scored: Graph
    ) -> dict[str, Endpoint]:
        """The two endpoints that take candidates as `signature` says, beside a user's state and beside the user."""
        return {
            candidate: (lambda raw: scored(raw, inputs(raw)), encoded.outputs | signature),
            rank: (lambda raw: scored(encoded(user_inputs(raw)), inputs(raw)), user_signature | signature),
        }

    candidate_inputs, scored = scoring(candidate_signature)

    def user_tower(raw: Tensors) -> Tensors:
        return encoded(_from_padding_on(user_inputs(raw)))

    def transformed(raw: Tensors) -> Tensors:
        return {**user_inputs(raw), **candidate_inputs(raw)}

    def serving_default(examples: tf.Tensor) -> Tensors:
        inputs = transform.examples(examples)
        return scored(encoded(inputs), inputs)

    def explained(raw: Tensors) -> Tensors:
        inputs = transformed(raw)
        state = encoded(inputs)
        return {**told(state, inputs), **scored(state, inputs)}

    told = _with_constant_kernels(model, model.explain)
    archive = keras.export.ExportArchive()
    # Inside a module: variables that functions use are saved in any case, and those of a tracked Keras model once more
    # as variables of their own, twice the size on disk and in the server's memory.
    resources = tf.Module()
    resources.model = model
    archive.track(resources)
    for trackable in transform.trackables:
        archive.track(trackable)
    both = user_signature | candidate_signature
    endpoints: dict[str, Endpoint] = {
        contract.USER_TOWER: (user_tower, user_signature),
        **of_candidates(contract.CANDIDATE, contract.RANK, candidate_signature, candidate_inputs, scored),
        contract.SERVING_DEFAULT: (serving_default, examples_spec),
        contract.TRANSFORM: (transformed, both),
    }
    if content.widths:
        archive.track(content)
        carrying = candidate_signature | content.signature
        endpoints |= of_candidates(
            contract.CANDIDATE_WITH_CONTENT, contract.RANK_WITH_CONTENT, carrying, *scoring(carrying)
        )
    if explain:
        endpoints[contract.EXPLAIN] = (explained, both)
    if retrieval is not None:
        page = page_signature(user_signature)

        def rank_ids(inputs: Tensors) -> Callable[[tf.Tensor], Tensors]:
            state = encoded(inputs)
            return lambda ids: scored(state, candidate_inputs(_without_columns(transform, ids)))

        def asked(raw: Tensors) -> tuple[Tensors, tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
            """Model inputs of the user, and what a search takes."""
            inputs = user_inputs({name: raw[name] for name in user_signature})
            excluded = transform.candidates(_without_columns(transform, raw[contract.EXCLUDE_ITEM_ID]))
            return inputs, (retrieval.tower.user_tower(inputs), excluded[CANDIDATE_CONTENT_ROW], raw[contract.K])

        def retrieve(raw: Tensors) -> Tensors:
            return retrieved(retrieval, *asked(raw)[1])

        def recommend(raw: Tensors) -> Tensors:
            inputs, search = asked(raw)
            return recommended(retrieval, *search, rank_ids(inputs))

        def vector(raw: Tensors) -> Tensors:
            return user_vector(retrieval, retrieval.tower.user_tower(user_inputs(raw)))

        endpoints[contract.USER_VECTOR] = (vector, user_signature)
        endpoints[contract.RETRIEVE] = (retrieve, page)
        if retrieval.candidates:
            endpoints[contract.RECOMMEND] = (recommend, page)
        for resource in tracked(retrieval):
            archive.track(resource)
    for endpoint, (function, signature) in endpoints.items():
        # As a graph already: the archive traces what it is given twice.
        archive.add_endpoint(endpoint, _traced(function, signature), input_signature=[signature])

    with written_whole(directory) as partial:
        shutil.rmtree(partial, ignore_errors=True)
        archive.write_out(str(partial), _WITHOUT_GRADIENTS, verbose=False)
        written = dataclasses.replace(
            contract.ModelContract(
                name,
                max_history,
                transform.user_inputs,
                candidate_inputs=transform.candidate_inputs,
                history_ages=ages,
                further_histories=further,
                precision=precision,
                retrieval_items=0 if retrieval is None else retrieval.index.items,
                ranked_candidates=0 if retrieval is None else retrieval.ranked,
                retrieval_weight=0.0 if retrieval is None else retrieval.weight,
            ),
            user_lists=tuple(transform.user_lists),
            signatures=_signatures(partial),
            objectives={objective.name: objective.given for objective in model.schema.objectives},
            formula=formula or (model.schema.objectives[0].name if model.schema.objectives else ""),
        )
        (partial / contract.CONTRACT_FILE).write_text(written.to_json(), encoding="utf-8")
    return written


def _with_constant_kernels(model: RankingModel, function: Callable[..., Tensors]) -> Callable[..., Tensors]:
    """`function` of a model in bfloat16, whose graph has the kernels of dense layers as constants.

    oneDNN lays a kernel out anew in each call, unless the graph says that it never changes: half of the time of a
    product in bfloat16, and next to nothing in float32.
    """
    kernels = {id(weight): weight.numpy() for weight in model.weights if weight.dtype == contract.BFLOAT16}

    def traced(*arguments: Tensors) -> Tensors:
        with _Constants(kernels):
            return function(*arguments)

    return traced if kernels else function


class _Constants(keras.StatelessScope):
    """A scope in which reading some variables is a constant of the graph, or of the branch, that reads them."""

    def __init__(self, values: Mapping[int, np.ndarray]):
        super().__init__()
        self._values = values

    def get_current_value(self, variable: Any) -> Any:
        """The constant; None of other variables, which are read as ever."""
        value = self._values.get(id(variable))
        return None if value is None else tf.constant(value)


def _traced(function: Callable[[Any], Tensors], signature: Any) -> Any:
    """The graph of an endpoint, a concrete function that takes what the function takes."""

    def named(raw: Any) -> dict[str, tf.Tensor]:
        return {key: tf.identity(value, name=key) for key, value in function(raw).items()}

    return tf.function(named, input_signature=[signature], autograph=False).get_concrete_function()


def user_model_inputs(transform: Transform, raw: Tensors) -> dict[str, tf.Tensor]:
    """Model inputs of the user part of raw requests."""
    histories = {contract.HISTORY_ITEM_ID: contract.HISTORY_AGE}
    histories |= {
        contract.further_history_items(name): contract.further_history_ages(name)
        for name in transform.further_histories
    }
    checked = {
        ages: of_each_history_item(raw[ages], raw[items], ages, items)
        for items, ages in histories.items()
        if ages in raw and transform.history_ages
    }
    return transform.user({**raw, **checked})


def candidate_model_inputs(transform: Transform, raw: Tensors, content: ContentInputs) -> dict[str, tf.Tensor]:
    """Model inputs of the candidates of raw requests, with their columns and the content that they carry."""
    item_ids = raw[contract.CANDIDATE_ITEM_ID]
    columns = {name: of_each_candidate(raw[name], item_ids, name) for name in transform.candidate_inputs}
    return {**transform.candidates({**raw, **columns}), **content(raw, item_ids)}


def _without_columns(transform: Transform, item_ids: tf.Tensor) -> Tensors:
    """Raw inputs of candidates that bring nothing but their ids: their columns are missing values."""
    missing = {"string": tf.constant(""), "float32": tf.constant(math.nan)}
    columns = {name: tf.fill(tf.shape(item_ids), missing[dtype]) for name, dtype in transform.candidate_inputs.items()}
    return {contract.CANDIDATE_ITEM_ID: item_ids, **columns}


def _signatures(directory: Path) -> dict[str, dict[str, dict[str, contract.TensorContract]]]:
    """Inputs and outputs as the written model has them, read back without loading its variables."""
    return {
        name: {
            "inputs": {key: _tensor_contract(info) for key, info in sorted(signature.inputs.items())},
            "outputs": {key: _tensor_contract(info) for key, info in sorted(signature.outputs.items())},
        }
        for name, signature in sorted(signature_defs(directory).items())
    }


def _tensor_contract(info: Any) -> contract.TensorContract:
    shape = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
    return contract.TensorContract(tf.dtypes.as_dtype(info.dtype).name, shape)
