"""The section `stages`: retrieval from the whole catalogue before the ranker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field, field_validator

from serving.contract import EXCLUDE_ITEM_ID, K
from tfx_pipeline.config.values import Fraction, Integer, Number, Params, Section

# By which the epochs of retrieval are judged.
JUDGED_AT = 100
RECALL = f"val_recall@{JUDGED_AT}"
"""That metric of an epoch: share of eval's clicks that are among the first `JUDGED_AT` items."""


class Approximate(Section):
    """An index beside the model that finds most of the best items without looking at each; needs usearch."""

    connectivity: Integer = Field(16, ge=2, description="neighbours of an item in the graph: more is larger and better")
    expansion_add: Integer = Field(
        128, ge=1, description="candidates kept while an item is added: more is slower to make and better"
    )
    expansion_search: Integer = Field(
        1000, ge=1, description="candidates kept in a search, at least: more is slower and finds more"
    )
    at: Integer = Field(
        500, ge=1, description="k of the recall against the exact search; at most the items of the catalogue"
    )
    min_recall: Fraction = Field(0.95, description="recall that a model must reach to be pushed")


class Retrieval(Section):
    """The stage that finds candidates: a two-tower model, trained against the whole catalogue on what was clicked."""

    params: Params = Field({}, description="hyper-parameters of the model `two_towers`: docs/MODELS.md")
    batch_size: Integer = Field(512, ge=2, description="requests; the clicks of the others are a request's negatives")
    epochs: Integer = Field(10, ge=1)
    patience: Integer = Field(
        2, ge=1, description=f"epochs without a better recall@{JUDGED_AT} on eval before training stops"
    )
    learning_rate: Number = Field(1e-3, gt=0)
    random_negatives: Integer = Field(
        1024, ge=0, description="items that are drawn for each batch, of all that have a click in train alike"
    )
    shown_negatives: bool = Field(
        False, description="what a request showed and was not clicked is a negative of that request"
    )
    hard_negatives: Integer | None = Field(
        None, ge=1, description="of all negatives of a click only so many, those that score highest; absent: all"
    )
    approximate: Approximate | None = Field(
        None, description="an approximate index beside the exact one, for large catalogues; absent: none"
    )

    later: ClassVar[frozenset[str]] = frozenset({"approximate"})

    @field_validator("params")
    @classmethod
    def _known(cls, params: Params) -> Params:
        from dmf_keras.models.registry import model_config

        try:
            model_config("two_towers", params)
        except (TypeError, ValueError) as error:
            raise ValueError(str(error)) from None
        return params


class Ranking(Section):
    """The stage that orders what was retrieved: the model of `model`."""

    candidates: Integer = Field(500, ge=1, description="items that `recommend` retrieves and ranks")
    retrieval_weight: Number = Field(
        0.0,
        ge=0,
        le=1e6,
        description="order pages by logit(score) + this x retrieval's score; 0: by the ranker's score alone. Choose it "
        "by `dmf retrieval evaluate --cascade --weights`",
    )

    later: ClassVar[frozenset[str]] = frozenset({"retrieval_weight"})


def check_stages(stages: Stages | None, features: Iterable[str]) -> None:
    """Raises ValueError when a feature has the name of what a request for items of the catalogue says beside it."""
    taken = sorted({K, EXCLUDE_ITEM_ID} & set(features))
    if stages is not None and taken:
        raise ValueError(
            f"features: '{taken[0]}' is an input of retrieval (stages); give the feature another name (its `column` "
            "may have any)"
        )


class Stages(Section):
    """Retrieval before ranking; without this section a model ranks what a request brings."""

    retrieval: Retrieval = Retrieval()
    ranking: Ranking = Ranking()
