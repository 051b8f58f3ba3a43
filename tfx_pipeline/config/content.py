"""The section `content`: embeddings of items by modality, semantic ids made of them, and their fine-tuning."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tfx_pipeline.config.fine_tuning import SUFFIX, FineTuning
from tfx_pipeline.config.names import check_names
from tfx_pipeline.config.values import Fraction, Integer, Section, StoredPath


class Codes(Section):
    """Semantic ids: of each item a code per level, by residual k-means of the content of one modality."""

    levels: Integer = Field(3, ge=1, le=8, description="each level clusters what the levels before it leave over")
    size: Integer = Field(
        256, ge=2, le=65_536, description="codes of each level, at most as many as items have content of the modality"
    )
    of: str = Field(description="name of the modality")


class Modality(Section):
    """Precomputed embeddings of one modality: Parquet (id and list column) or npz (two arrays)."""

    path: StoredPath
    id_column: str = "item_id"
    embedding_column: str = "embedding"
    width: Integer | None = Field(None, ge=1, description="expected width of the source; checked when given")
    dim: Integer | None = Field(None, ge=1, description="reduce to this width by PCA; absent: keep the source's width")
    dtype: Literal["int8", "float16", "float32"] = Field(
        "float16", description="in which the model keeps its table; int8 takes a quarter of float32, float16 half of it"
    )


class Content(Section):
    """Content embeddings, any number of modalities; without any, models that compare content cannot be trained."""

    later = frozenset({"codes", "fine_tuning"})

    modalities: dict[str, Modality] = {}
    max_unknown_fraction: Fraction = Field(
        0.05, description="share of embedded ids that may be absent from the catalogue"
    )
    codes: Codes | None = Field(None, description="semantic ids, for models that read them; absent: none")
    fine_tuning: FineTuning | None = Field(
        None, description="projections that learn from the clicks of train, docs/CONTENT.md; absent: none"
    )

    _names = field_validator("modalities")(check_names)

    @property
    def codes_of(self) -> str | None:
        """Name of the modality that semantic ids are made of; None: there are none."""
        return None if self.codes is None else self.codes.of

    @property
    def tuned(self) -> dict[str, str]:
        """Names of the modalities of tuned vectors, and of those that each is made of."""
        if self.fine_tuning is None:
            return {}
        chosen = self.modalities if self.fine_tuning.of is None else self.fine_tuning.of
        return {f"{name}{SUFFIX}": name for name in self.modalities if name in chosen}

    @property
    def kept(self) -> list[str]:
        """Names of the modalities whose own vectors a model is given."""
        keep = None if self.fine_tuning is None else self.fine_tuning.keep
        return [name for name in self.modalities if keep is None or name in keep]

    @property
    def names(self) -> list[str]:
        """Of all modalities that a model is given, in the order of the content table."""
        return [*self.kept, *self.tuned]

    def only(self, names: Collection[str]) -> dict[str, Any]:
        """The section as JSON that gives a model these modalities, some of `names`, and nothing that they do not need.

        Semantic ids stay where the modality that they are made of is given.
        """
        values = self.model_dump(mode="json", exclude_unset=True)
        tuned = {name: source for name, source in self.tuned.items() if name in names}
        values["modalities"] = {
            name: values["modalities"][name] for name in self.modalities if name in (*names, *tuned.values())
        }
        if self.codes_of not in (None, *names):
            del values["codes"]
        values.pop("fine_tuning", None)
        if tuned and self.fine_tuning is not None:
            own = self.fine_tuning.model_dump(mode="json", exclude_unset=True)
            values["fine_tuning"] = own | {
                "of": list(tuned.values()),
                "keep": [name for name in self.kept if name in names],
            }
        return values

    @model_validator(mode="after")
    def _fine_tuning_is_of_modalities(self) -> Content:
        if self.fine_tuning is None:
            return self
        there = ", ".join(self.modalities) or "none"
        for key, names in (("of", self.fine_tuning.of), ("keep", self.fine_tuning.keep)):
            for name in names or ():
                if name not in self.modalities:
                    raise ValueError(f"fine_tuning.{key}: no modality '{name}'; modalities: {there}")
        if not self.modalities:
            raise ValueError("fine_tuning: there are no modalities to tune; give content.modalities, or leave it out")
        for name in self.tuned:
            if name in self.modalities:
                raise ValueError(f"fine_tuning: makes a modality '{name}', and there is one; give that another name")
        if self.codes_of not in (None, *self.kept):
            raise ValueError(f"fine_tuning.keep: codes are of '{self.codes_of}', whose vectors must stay; name it too")
        return self

    @model_validator(mode="after")
    def _codes_are_of_a_modality(self) -> Content:
        if self.codes is not None and self.codes.of not in self.modalities:
            there = ", ".join(self.modalities) or "none"
            raise ValueError(f"codes.of: no modality '{self.codes.of}'; modalities: {there}")
        return self
