"""The section about comparisons: what `dmf compare` trains. No step of the pipeline reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, Field

from dmf_keras.models import BUILT_IN
from dmf_keras.models.registry import model_config, model_names, parameters
from tfx_pipeline.config.label import Label
from tfx_pipeline.config.values import Integer, Number, Params, Section


class OwnTraining(Section):
    """What a model of a comparison may have otherwise than the section `training`: not its budget, which all share."""

    learning_rate: Number | None = Field(None, gt=0)
    batch_size: Integer | None = Field(None, ge=1)


_Training = TypeVar("_Training", bound=BaseModel)


class Comparison(Section):
    """Which models `dmf compare` trains, and with what. A run of the pipeline does not look at it."""

    models: dict[str, Params] = Field(
        {},
        description="label (`dmf`, `dmf@text` for that modality alone, `dmf~items` without columns of items, "
        "`dmf~candidates` without those of candidates, `dmf~ages` without ages of history events) to the "
        "hyper-parameters that differ from `model.params`, or from the defaults of a model of the library where "
        "`model.name` is one of your own. The reference and others: these are compared; without one or the other: "
        "every registered model, and the labels given here",
    )
    training: dict[str, OwnTraining] = Field(
        {},
        description="label to the `learning_rate` and `batch_size` that differ from `training`; epochs and patience "
        "are the budget and the same for all",
    )
    seeds: Integer = Field(3, ge=1, description="trainings per model; seeds count from `training.seed`")
    reference: str = Field("dmf", description="label of the model that the others are compared with")

    def labels(self) -> list[str]:
        """What is compared, as written.

        `models` without the reference, or with nothing beside it, is no choice of models to compare: it overrides.
        """
        given = list(self.models)
        if self.reference in given and len(given) > 1:
            return given
        return list(dict.fromkeys([*model_names(), *given]))

    def params(self, label: Label, shared: Mapping[str, Any], shared_by: str) -> Params:
        """Hyper-parameters of a model.

        Those of `shared` that the model has, then those given for the model, then those given for the label. A name
        that a model of somebody's own has in common with the library's models need not mean the same: what is given
        for the former goes to none of the latter.

        Args:
            label: model and modalities; need not be among `models`.
            shared: `model.params` of the configuration.
            shared_by: `model.name` of the configuration.

        Raises:
            ValueError: the model has no parameter of a name given for it, or refuses a value.
        """
        known = parameters(label.model)
        own = {**self.models.get(label.model, {}), **self.models.get(str(label), {})}
        given = {} if shared_by not in BUILT_IN and label.model in BUILT_IN else shared
        params = {name: value for name, value in given.items() if name in known} | own
        model_config(label.model, params)
        return params

    def training_of(self, label: Label, shared: _Training) -> _Training:
        """How a model is trained: as `shared`, but for what is given for the model, then for the label.

        Args:
            label: model and modalities.
            shared: section `training` of the configuration.
        """
        own: dict[str, Any] = {}
        for name in (label.model, str(label)):
            if name in self.training:
                own |= self.training[name].model_dump(exclude_none=True)
        return shared.model_copy(update=own)

    def check(
        self, shared: Mapping[str, Any], shared_by: str, modalities: Sequence[str], codes_of: str | None = None
    ) -> None:
        """Refuses labels and hyper-parameters that do not exist.

        Args:
            shared: `model.params` of the configuration.
            shared_by: `model.name` of the configuration.
            modalities: names of the configuration's modalities.
            codes_of: see `Label.parse`.

        Raises:
            ValueError: with the key, what was given and what exists.
        """
        for section, labels in (("models", self.models), ("training", self.training)):
            for text in labels:
                try:
                    label = Label.parse(text, modalities, codes_of)
                    if str(label) != text:
                        raise ValueError(f"'{text}' is '{label}': write it so")
                    self.params(label, shared, shared_by)
                # The class of a user's hyper-parameters may raise anything.
                except Exception as error:
                    raise ValueError(f"comparison.{section}: {error}") from None
        try:
            # A default is not asked for.
            if "reference" in self.model_fields_set:
                Label.parse(self.reference, modalities, codes_of)
        except ValueError as error:
            raise ValueError(f"comparison.reference: {error}") from None
