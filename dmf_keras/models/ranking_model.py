"""The contract of every model: a user is encoded once, candidates are scored against the state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

import dmf_keras.metrics.streaming  # noqa: F401  a loaded model may be compiled with them
from dmf_keras.checks import check_kind, check_rank
from dmf_keras.layers.content_embedding import ContentEmbedding
from dmf_keras.layers.score_calibration import ScoreCalibration
from dmf_keras.models.auxiliary_losses import AuxiliaryLoss, AuxiliaryTerms
from dmf_keras.models.inputs import (
    CANDIDATE_CONTENT_ROW,
    CANDIDATE_INDEX,
    RankingSchema,
    candidate_content,
    candidate_inputs,
    is_age,
    user_inputs,
)
from dmf_keras.models.model_config import ModelConfig
from dmf_keras.models.objectives import ObjectivesLoss
from dmf_keras.models.replicated_model import ReplicatedModel
from dmf_keras.ops.entire_space import joint_logits
from dmf_keras.types import Tensor


class RankingModel(ReplicatedModel):
    """Base of the registry's models. Subclasses build all layers in `__init__` and write `encode_user` and `score`.

    The inputs are one dict of dense tensors; `dmf_keras.models.inputs` has the names. Index 0 is padding, which never
    changes the score of anything else; neither do other candidates or their order.

    For `fit`, labels and sample weights are [B, N] like the logits, and the sample of a loss or metric is a candidate:
    losses and metrics receive [B * N, 1]. Padded candidates weigh nothing, given weights or not.

    With several objectives (`schema.objectives`) logits and labels are [B, N, T] in their order. The logit of one that
    is given another is that of its conditional probability; losses and metrics receive [B * N, T], joint logits in
    place of those, so that all impressions count (ESMM, see `dmf_keras.ops.entire_space`).

    Args:
        schema: sizes and names that come from the data.
        config: hyper-parameters, of type `config_class`.
        content: tables of another model that this one shares; None: it has its own.
        dense_dtype: policy of the layers that multiply by wide matrices per candidate, such as the head, see
            `for_serving`; None: that of the model.
        kwargs: `name` and `dtype` of a Keras model.
    """

    config_class: ClassVar[type[ModelConfig]]
    # False in models over IDs alone: their content tables would only take memory.
    uses_content: ClassVar[bool] = True
    # Whether `score` gives logits [B, N, T] where the schema has T objectives.
    has_objectives: ClassVar[bool] = False
    # Whether `encode_user` reads the further histories of the schema.
    has_further_histories: ClassVar[bool] = False

    def __init__(
        self,
        schema: RankingSchema,
        config: ModelConfig,
        content: dict[str, ContentEmbedding] | None = None,
        dense_dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        # Without autocast=False a mixed policy would round content vectors before they are compared.
        super().__init__(autocast=False, **kwargs)
        if schema.objectives and not self.has_objectives:
            raise ValueError(
                f"{type(self).__name__} has one logit per candidate, but there are {len(schema.objectives)} objectives"
                "; a model whose `score` gives [B, N, T] says so by `has_objectives = True`"
            )
        if schema.histories and not self.has_further_histories:
            raise ValueError(
                f"{type(self).__name__} reads one history, but there are further ones: {', '.join(schema.histories)}; "
                "a model whose `encode_user` reads them says so by `has_further_histories = True`"
            )
        self.schema = schema
        self.config = config
        self.dense_policy = self.dtype_policy if dense_dtype is None else keras.dtype_policies.get(dense_dtype)
        self._kept_negatives = 1.0
        self._auxiliary = AuxiliaryTerms({})
        self._evaluating = False
        self.calibration: ScoreCalibration | None = None
        self.content = content or {
            name: ContentEmbedding(
                schema.content_rows, spec.width, spec.dtype, dtype=self.dtype_policy, name=f"{name}_content"
            )
            for name, spec in (schema.modalities.items() if self.uses_content else ())
        }
        if content is None:
            for layer in self.content.values():
                layer.build((None, None))

    @property
    def uses_history_ages(self) -> bool:
        """Whether `encode_user` reads `HISTORY_AGE`, which requests then carry. A model that does says so here."""
        return False

    def encode_user(self, inputs: Mapping[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """All that can be computed before a candidate is known: tensors [B, ...] by name."""
        raise NotImplementedError(f"{type(self).__name__} must implement `encode_user`")

    def score(self, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Logits float32 [B, N], of T objectives [B, N, T], of the candidates in `inputs` for the users in `state`."""
        raise NotImplementedError(f"{type(self).__name__} must implement `score`")

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Logits float32 [B, N] or [B, N, T]: `score` after `encode_user`."""
        self._auxiliary.forget()
        return self.score(self.encode_user(inputs, training), inputs, training)

    def auxiliary_losses(self) -> dict[str, AuxiliaryLoss]:
        """What training adds to the loss of the labels, by name; nothing by default.

        `compile` asks once. Training alone has the terms: each step adds weight times value, and `fit` logs the value
        as `loss/NAME`. The loss of an evaluation is that of the labels, so that it says how well the model predicts and
        compares models whatever they were trained with. What a term needs beside inputs, labels and weights of the
        batch, `encode_user` and `score` hand it by `note`. With `kept_negatives` a term sees the negatives that are
        kept, as many as they are.
        """
        return {}

    def note(self, **tensors: Tensor) -> None:
        """Hands tensors to the auxiliary losses of this step of training.

        To be called in `encode_user` or `score` where `training` is true: then nothing is computed when serving. A
        tensor of candidates has no meaning at padding, where the weights of a term are 0; it must be finite there.
        """
        self._auxiliary.note(tensors)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities float32 [...] of `score`'s logits, calibrated where `calibrate` was called.

        Of several objectives each has its own, one that is given another p(this given that); the first is calibrated.
        """
        logits = ops.cast(logits, "float32")
        if self.calibration is not None and self.schema.objectives:
            logits = ops.concatenate([self.calibration(logits[..., :1]), logits[..., 1:]], axis=-1)
        elif self.calibration is not None:
            logits = self.calibration(logits)
        return ops.sigmoid(logits)

    def calibrate(self, x: np.ndarray, y: np.ndarray) -> None:
        """Makes `probabilities` calibrated; logits, and so losses and metrics of training, stay as they are.

        Args:
            x, y: logits and what they are when calibrated, see `ScoreCalibration.set_points`.
        """
        self.calibration = self._calibration(len(x))
        self.calibration.set_points(x, y)

    def for_serving(self, precision: str = "float32") -> RankingModel:
        """This model, or an equal one, as it is to be served.

        In "bfloat16" the head and further dense layers keep their weights and compute in it. Their logits and all else
        (embeddings, cosines, buckets, attention over IDs, calibration) are float32, whatever the model was trained in.

        Args:
            precision: "float32" or "bfloat16".

        Returns:
            The model itself where nothing differs; otherwise a new one, not compiled, with copies of the weights.
        """
        if self.dtype_policy.name == "float32" and self.dense_policy.name == precision:
            return self
        served = type(self).from_config({**self.get_config(), "dtype": "float32", "dense_dtype": precision})
        for mine, copy in zip(self.weights, served.weights, strict=True):
            copy.assign(mine)
        return served

    def _calibration(self, points: int) -> ScoreCalibration:
        layer = ScoreCalibration(points, name="calibration")
        layer.build()
        return layer

    def explain(self, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Why the candidates score as they do; a model that has nothing to tell of it need not write this.

        Args:
            state: of `encode_user`.
            inputs: those of `call`, of user and candidates.

        Returns:
            Tensors [B, N, ...] by name, finite; `dmf_keras.models.explanation` has the names of the registry's models.
            As for scores, padding and other candidates change nothing.
        """
        return {}

    def adapt(self, batches: Iterable[Mapping[str, Any]]) -> None:
        """Takes from data what must be known before training; most models need nothing.

        Args:
            batches: inputs of the train split, in any order.
        """

    def check_user_inputs(self, inputs: Mapping[str, Tensor]) -> None:
        """Raises ValueError when an input of `encode_user` is missing or has the wrong rank or dtype."""
        specs = user_inputs(self.schema)
        self._check(inputs, {n: spec for n, spec in specs.items() if not is_age(n) or self.uses_history_ages})

    def check_candidate_inputs(self, inputs: Mapping[str, Tensor], training: bool = False) -> None:
        """Raises ValueError when an input of `score` is missing or has the wrong rank or dtype."""
        self._check(inputs, candidate_inputs(self.schema, training))

    def _check(self, inputs: Mapping[str, Tensor], specs: Mapping[str, Any]) -> None:
        missing = [name for name in specs if name not in inputs]
        if missing:
            raise ValueError(f"missing inputs: {', '.join(missing)}. Received: {', '.join(sorted(inputs)) or 'none'}")
        for name, spec in specs.items():
            check_rank(name, inputs[name], " ".join(("batch", "items")[: len(spec.shape)]))
            if spec.dtype == "int32":
                check_kind(name, inputs[name], "int")

    def candidate_vectors(self, inputs: Mapping[str, Tensor], modality: str) -> tuple[Tensor, Tensor]:
        """Unit content vectors float32 [B, N, D] of the candidates and their presence bool [B, N].

        Vectors that the request carries replace those of the table, candidate by candidate, where they are not zero.
        """
        if _vectors(modality) in inputs:
            return inputs[_vectors(modality)], inputs[_presence(modality)]
        vectors, present = self.content[modality](inputs[CANDIDATE_CONTENT_ROW])
        given = inputs.get(candidate_content(modality))
        if given is None:
            return vectors, present
        check_rank(candidate_content(modality), given, "batch candidates width")
        given = ops.normalize(ops.cast(given, "float32"))
        # Not what padding carries, which may be NaN.
        carried = ops.logical_and(ops.any(given != 0, axis=-1), ops.not_equal(inputs[CANDIDATE_INDEX], 0))
        return ops.where(ops.expand_dims(carried, -1), given, vectors), ops.logical_or(carried, present)

    def with_candidate_vectors(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`inputs` with the `candidate_vectors` of all modalities, for who asks for them more than once."""
        found = dict(inputs)
        for name in self.content:
            found[_vectors(name)], found[_presence(name)] = self.candidate_vectors(inputs, name)
        return found

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = None,
        metrics: list[Any] | None = None,
        weighted_metrics: list[Any] | None = None,
        kept_negatives: float = 1.0,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`; the default loss is the mean binary cross-entropy from logits of real candidates.

        Metrics are all weighted, as an unweighted one would count padding. They see logits: `AUC(from_logits=True)`.
        With TensorFlow `jit_compile` is False where it is not given: XLA would compile anew for each shape of a batch.

        Args:
            optimizer, loss, metrics, weighted_metrics, kwargs: as in Keras.
            kept_negatives: share of the negatives that batches of training hold. Among those kept, odds are 1 / share
                times those of all; training adds the logarithm to the logits, so that the model learns the odds of all
                (He et al., Practical Lessons from Predicting Clicks on Ads at Facebook, 2014).

        Raises:
            TypeError: metrics that are not lists.
            ValueError: a share that is not above 0 and at most 1.
        """
        for name, given in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
            if given is not None and not isinstance(given, list | tuple):
                raise TypeError(f"`{name}` must be a list of metrics. Received: {given!r}")
        if not 0 < kept_negatives <= 1:
            raise ValueError(f"`kept_negatives` must be above 0 and at most 1. Received: {kept_negatives!r}")
        if keras.backend.backend() == "tensorflow":
            kwargs.setdefault("jit_compile", False)
        self._kept_negatives = float(kept_negatives)
        if loss is None and self.schema.objectives:
            loss = ObjectivesLoss([objective.weight for objective in self.schema.objectives])
        elif loss is None:
            loss = keras.losses.BinaryCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
        super().compile(
            optimizer=optimizer,
            loss=loss,
            weighted_metrics=[*(metrics or []), *(weighted_metrics or [])] or None,
            **kwargs,
        )
        self._auxiliary = AuxiliaryTerms(self.auxiliary_losses())

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model; Keras leaves this to classes that have a `compile` of their own."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """As `keras.Model.compute_loss`, over real candidates; in training with the auxiliary losses."""
        auxiliary = self._auxiliary_values(x, y, sample_weight) if training and self._auxiliary.losses else []
        if training and self._kept_negatives < 1:
            correction = -math.log(self._kept_negatives)
            if self.schema.objectives:
                # The others that are conditional on the first are corrected through it.
                correction = ops.cast([correction] + [0.0] * (len(self.schema.objectives) - 1), "float32")
            y_pred = y_pred + correction
        y, y_pred, sample_weight = self._samples(x, y, y_pred, sample_weight)
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        # As Keras adds regularisers: of a distributed step each replica has its share.
        loss = sum((self._aggregate_additional_loss(term) for term in auxiliary), loss)
        return self.of_whole_batch(loss, ops.sum(sample_weight))

    def _auxiliary_values(self, x: Mapping[str, Tensor], y: Tensor, weight: Tensor | None) -> list[Tensor]:
        real = ops.not_equal(x[CANDIDATE_INDEX], 0)
        check_rank("labels", y, "batch candidates objectives" if self.schema.objectives else "batch candidates")
        weight = ops.ones(()) if weight is None else ops.reshape(ops.cast(weight, "float32"), ops.shape(real))
        of_labels = ops.expand_dims(real, -1) if self.schema.objectives else real
        labels = ops.cast(ops.where(of_labels, y, 0), "float32")
        return self._auxiliary.values(x, labels, ops.where(real, weight, 0.0), ops.shape(real)[0])

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Those of `keras.Model.metrics`, and the mean of each auxiliary loss."""
        return [*super().metrics, *self._auxiliary.means.values()]

    def get_metrics_result(self) -> dict[str, Any]:
        """As `keras.Model.get_metrics_result`; an evaluation, which has no auxiliary losses, tells of none."""
        results = super().get_metrics_result()
        hidden = {mean.name for mean in self._auxiliary.means.values()} if self._evaluating else ()
        return {name: result for name, result in results.items() if name not in hidden}

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`."""
        self._evaluating = True
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            self._evaluating = False

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """As `keras.Model.compute_metrics`, over real candidates."""
        y, y_pred, sample_weight = self._samples(x, y, y_pred, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)  # type: ignore[no-any-return]

    def _samples(self, x: Any, y: Tensor, y_pred: Tensor, weight: Tensor | None) -> tuple[Tensor, ...]:
        objectives = self.schema.objectives
        if not objectives:
            return _by_candidate(x, y, y_pred, weight)
        check_rank("labels", y, "batch candidates objectives")
        # Before the joint logits: NaN in padding must not come into a gradient.
        real = ops.expand_dims(ops.not_equal(x[CANDIDATE_INDEX], 0), -1)
        joint = joint_logits(ops.where(real, y_pred, 0), self.schema.parents)
        columns = [_by_candidate(x, y[..., t], joint[..., t], weight) for t in range(len(objectives))]
        labels, logits, weights = zip(*columns, strict=True)
        return ops.concatenate(labels, axis=1), ops.concatenate(logits, axis=1), weights[0]

    def make_train_function(self, force: bool = False) -> Any:
        """As `keras.Model.make_train_function`, with the optimizer's variables made before.

        TensorFlow traces a step anew that makes variables, which takes as long as the first time and a training of few
        steps most of its time. The layers are there since `__init__`; what is built later Keras builds as ever.
        """
        optimizer = getattr(self, "optimizer", None)
        made = all(layer.built for layer in self._flatten_layers(include_self=False))
        if optimizer is not None and not optimizer.built and made:
            optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def get_config(self) -> dict[str, Any]:
        """Plain values from which `from_config` makes an equal model, weights apart."""
        calibrated = {} if self.calibration is None else {"calibration_points": self.calibration.points}
        policy = self.dense_policy
        dense = {} if policy == self.dtype_policy else {"dense_dtype": keras.dtype_policies.serialize(policy)}
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "schema": self.schema.to_dict(),
            "config": self.config.to_dict(),
            **dense,
            **calibrated,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> RankingModel:
        """The model of `get_config`'s values."""
        config = dict(config)
        points = config.pop("calibration_points", None)
        schema = RankingSchema.from_dict(config["schema"])
        model = cls(**{**config, "schema": schema, "config": cls.config_class.of_saved(config["config"])})
        if points is not None:
            model.calibration = model._calibration(points)
        return model


def _vectors(modality: str) -> str:
    return f"{candidate_content(modality)}/vectors"


def _presence(modality: str) -> str:
    return f"{candidate_content(modality)}/present"


def _by_candidate(x: Mapping[str, Tensor], y: Tensor, y_pred: Tensor, weight: Tensor | None) -> tuple[Tensor, ...]:
    """Labels, logits and weights as [B * N, 1]: one sample per candidate, padding with weight 0."""
    check_rank("labels", y, "batch candidates")
    real = ops.not_equal(x[CANDIDATE_INDEX], 0)
    # A reshape and not a broadcast: weights [B] must fail and not be spread over candidates.
    weight = ops.ones(()) if weight is None else ops.reshape(ops.cast(weight, "float32"), ops.shape(real))
    # Padding may be NaN, which a weight of 0 does not take away.
    flat = [ops.reshape(ops.where(real, tensor, 0), (-1, 1)) for tensor in (y, y_pred, weight)]
    return tuple(flat)
