"""`dmf`, its form in the paper `dmf_paper`, and the paper's two halves `dmf_enriched` and `dmf_centric`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dmf_keras.models.configs import HistogramConfig, SimilarAttentionConfig, SimilarityConfig
from dmf_keras.models.model_config import choice_problem, count_problem, counts_problem, number_problem
from dmf_keras.models.registry import register_model
from dmf_keras.models.target_attention import TargetAttentionConfig

_BRANCHES = ("enriched", "centric")
_CONTENT_IN = ("items", "user")


@dataclass(frozen=True)
class _BranchConfig(SimilarityConfig):
    """What DMF and its ablations share.

    Args:
        interest_dim: width of the interest r_n.
        branch_hidden: hidden widths of the MLP of each branch.
    """

    interest_dim: int = 64
    branch_hidden: tuple[int, ...] = (64,)

    @property
    def branches(self) -> tuple[str, ...]:
        """Which of "enriched" and "centric" the model has."""
        return _BRANCHES

    def problems(self) -> list[str]:
        """See the base class."""
        found = [*super().problems(), *count_problem("interest_dim", self.interest_dim)]
        return found + counts_problem("branch_hidden", self.branch_hidden)


@dataclass(frozen=True)
class DMFEnrichedConfig(TargetAttentionConfig, SimilarAttentionConfig, _BranchConfig):
    """Hyper-parameters of `dmf_keras.models.DMFEnriched`: DMF's without the histogram and the mixing."""

    @property
    def branches(self) -> tuple[str, ...]:
        """The enriched one."""
        return ("enriched",)


@dataclass(frozen=True)
class DMFCentricConfig(HistogramConfig, _BranchConfig):
    """Hyper-parameters of `dmf_keras.models.DMFCentric`: DMF's without the attention and the mixing."""

    @property
    def branches(self) -> tuple[str, ...]:
        """The centric one."""
        return ("centric",)


@dataclass(frozen=True)
class DMFPaperConfig(TargetAttentionConfig, SimilarAttentionConfig, HistogramConfig, _BranchConfig):
    """Hyper-parameters of `dmf_keras.models.DMFPaper`: the paper's where it gives one, at a smaller head.

    Args:
        mixing: "fixed", "learned", "gate" or "concat"; see `ComplementaryModalityMixing`.
        alpha: weight of the enriched interest. With "fixed" mixing, 1 leaves the centric branch out and 0 the enriched.
    """

    mixing: str = "fixed"
    alpha: float = 0.5

    @property
    def branches(self) -> tuple[str, ...]:
        """Those that have a weight."""
        if self.mixing != "fixed" or 0 < self.alpha < 1:
            return _BRANCHES
        return ("enriched",) if self.alpha else ("centric",)

    def problems(self) -> list[str]:
        """See the base class."""
        found = [*super().problems(), *choice_problem("mixing", self.mixing, ("fixed", "learned", "gate", "concat"))]
        alpha = number_problem("alpha", self.alpha, 0, 1)
        if not alpha and self.mixing in ("learned", "gate") and self.alpha in (0, 1):
            alpha = [f"alpha must be strictly between 0 and 1 with {self.mixing} mixing, got {self.alpha!r}"]
        if not found + alpha and self.history_top_k is not None and "enriched" not in self.branches:
            found.append(f"history_top_k cuts attention: alpha 0 leaves none, got {self.history_top_k!r}")
        return found + alpha


@dataclass(frozen=True)
class DMFConfig(DMFPaperConfig):
    """Hyper-parameters of `dmf_keras.models.DMF`.

    Args:
        content_in: where content vectors go themselves, beside their similarities; () is the paper's form.
            "items": a projection of an item's content is added to its embedding, of candidates and history.
            "user": the mean of the history's content is a user feature of the head.
    """

    before: ClassVar[Mapping[str, Any]] = {"content_in": ()}

    content_in: tuple[str, ...] = _CONTENT_IN

    def problems(self) -> list[str]:
        """See the base class."""
        given = self.content_in
        if isinstance(given, tuple) and set(given) <= set(_CONTENT_IN) and len(set(given)) == len(given):
            return super().problems()
        return [*super().problems(), f"content_in must be a list of {' and '.join(_CONTENT_IN)}, got {given!r}"]


_ENRICHED = {"enriched": "modality-enriched interest"}
_CENTRIC = {"centric": "modality-centric interest"}

register_model("dmf", DMFConfig, "dmf_keras.models.dmf.model:DMF", parts=_ENRICHED | _CENTRIC)
register_model("dmf_paper", DMFPaperConfig, "dmf_keras.models.dmf.model:DMFPaper", parts=_ENRICHED | _CENTRIC)
register_model("dmf_enriched", DMFEnrichedConfig, "dmf_keras.models.dmf.model:DMFEnriched", parts=_ENRICHED)
register_model("dmf_centric", DMFCentricConfig, "dmf_keras.models.dmf.model:DMFCentric", parts=_CENTRIC)
