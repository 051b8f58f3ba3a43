"""Names and files that an exported model, its server and its clients agree on. Constants and plain data, no logic."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

# Signatures.
USER_TOWER = "user_tower"
CANDIDATE = "candidate"
RANK = "rank"
SERVING_DEFAULT = "serving_default"
# As `candidate` and `rank`, with content vectors for the candidates. Signatures of their own, because TensorFlow
# Serving wants every input of a signature fed. Only models that look at content have them.
CANDIDATE_WITH_CONTENT = "candidate_with_content"
RANK_WITH_CONTENT = "rank_with_content"
# The model inputs that a request becomes, for finding out where two answers part; no client needs it.
TRANSFORM = "transform"
# As `rank`, and why: outputs besides the score are those of `RankingModel.explain`, by its names, the history that the
# model uses in the last dimension. Only models that were exported with it have it.
EXPLAIN = "explain"
# Of a user's inputs, as `user_tower` takes them: the items of the whole catalogue that retrieval scores highest, and
# the page, which is what `rank` makes of them. Only models with a retrieval stage have them.
RETRIEVE = "retrieve"
RECOMMEND = "recommend"
# Of a user's inputs too: what an index beside the model is searched for. Models with a retrieval stage that were
# exported before it lack it.
USER_VECTOR = "user_vector"

# Inputs and outputs. The first dimension is the request's, [B]; history is [B, L], candidates and scores are [B, N].
USER_ID = "user_id"
HISTORY_ITEM_ID = "history_item_id"
# Seconds between each of these events and the request, float32 [B, L], NaN where not known. Only of some models.
HISTORY_AGE = "history_age_s"
# Of further histories, by kind of event: `history/NAME/item_id` and `history/NAME/age_s`, as the two above.
FURTHER_HISTORY_PREFIX = "history/"
_ITEMS, _AGES = "/item_id", "/age_s"
CANDIDATE_ITEM_ID = "candidate_item_id"
EXAMPLES = "examples"
SCORE = "score"
# And the objective's name, where a model has several: its probability [B, N]. Of one that is given another it is
# p(this given that); the probability of both is the product. `score` is then a formula of these, and no probability.
SCORE_PREFIX = "score/"
# And the modality's name: content vectors of the candidates as the encoder gives them, float32 [B, N, width]. A vector
# of zeros leaves a candidate the content of the catalogue.
CONTENT_PREFIX = "candidate_content/"

# Inputs of `retrieve` and `recommend` beside the user's: how many items each request wants, int32 [B], and items that
# it does not want, string [B, E]. "" excludes nothing, nor does an id that the catalogue lacks; E may be 0.
K = "k"
EXCLUDE_ITEM_ID = "exclude_item_id"
# Their outputs, [B, K] with K the largest k, in falling order of `score`: of `retrieve` a dot product, of `recommend`
# what `rank` calls so, with `score/NAME`. Past a request's own k, and where exclusion leaves fewer items: "", 0 and 0.
# A model that orders pages by retrieval too answers `page_score`, by which its `recommend` falls: page_order.py.
ITEM_ID = "item_id"
# And of `recommend`, how an item came in: what `retrieve` calls `score`, and its place there from 1 on, int32.
RETRIEVAL_SCORE = "retrieval_score"
RETRIEVAL_RANK = "retrieval_rank"
PAGE_SCORE = "page_score"

# And the outputs of `user_vector`: a vector float32 [B, D], under the signature's own name, and string [B], the digest
# of the catalogue whose items it is to be multiplied with: `serving.approximate_index.catalogue_digest`.
CATALOGUE = "catalogue"
# And float32 [B], of models that order pages by retrieval too: the weight, for who orders them outside the model.
RETRIEVAL_WEIGHT = "retrieval_weight"

# What head and other dense layers of a served model compute in.
FLOAT32, BFLOAT16 = "float32", "bfloat16"

# How far two computations of one score may lie apart: the same sums in another order, or rounded at other places.
SCORE_TOLERANCE = {FLOAT32: 1e-5, BFLOAT16: 2e-2}

# A unit vector whose projection onto a modality's reduced width is this short lies outside it: its direction there is
# rounding noise, and the item counts as one without content.
SHORTEST_PROJECTION = 1e-4

# Files beside the SavedModel's graph.
CONTRACT_FILE = "signature_contract.json"
EXTRA_ASSETS = "assets.extra"
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
GOLDEN_FILE = "assets.extra/golden_requests.json"
LOGS_FILE = "assets.extra/logs.json"
METADATA_FILE = "assets.extra/metadata.json"
EVALUATION_FILE = "assets.extra/evaluation.json"
MANIFEST_FILE = "assets.extra/manifest.json"


def further_history_items(name: str) -> str:
    """Input with the item ids of a further history."""
    return f"{FURTHER_HISTORY_PREFIX}{name}{_ITEMS}"


def further_history_ages(name: str) -> str:
    """Input with the ages of a further history's items."""
    return f"{FURTHER_HISTORY_PREFIX}{name}{_AGES}"


def further_history_of(feature: str) -> str | None:
    """The name of the further history whose item ids the input holds; None: it holds none."""
    if feature.startswith(FURTHER_HISTORY_PREFIX) and feature.endswith(_ITEMS):
        return feature[len(FURTHER_HISTORY_PREFIX) : -len(_ITEMS)]
    return None


@dataclasses.dataclass(frozen=True)
class TensorContract:
    """One input or output: its dtype by name and its shape, None where any size goes."""

    dtype: str
    shape: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class ModelContract:
    """What a client must know of one exported model; written as `signature_contract.json` beside it.

    Attributes:
        model: name of the model in the registry.
        max_history: longest history that is used; of a longer one the most recent are kept.
        user_inputs: raw user features (profile, context) beside user id and history: name to dtype,
            `string` ("" means missing) or `float32` (NaN means missing).
        signatures: per signature, `inputs` and `outputs` by name.
        user_lists: those of `user_inputs` that hold any number of values: string [B, W], "" is padding.
        candidate_inputs: raw columns of candidates, a value for each: name to dtype as in `user_inputs`.
        objectives: what the model predicts, the main objective first, each with the one that it is given, or None;
            empty: one thing that has no name.
        formula: that `score` is of the objectives' probabilities; "" without objectives.
        history_ages: whether a request carries the ages of its history's items, further ones included.
        further_histories: of each history beside the main one, by name, what `max_history` is of that.
        precision: `FLOAT32` or `BFLOAT16`.
        retrieval_items: items that `retrieve` chooses from; 0: the model has no retrieval stage.
        ranked_candidates: items that `recommend` retrieves and ranks: the largest k that it takes; 0 without.
        retrieval_weight: of retrieval's score in `page_score`, by which `recommend` orders; 0: by `score` alone.
    """

    model: str
    max_history: int
    user_inputs: dict[str, str]
    signatures: dict[str, dict[str, dict[str, TensorContract]]] = dataclasses.field(default_factory=dict)
    candidate_inputs: dict[str, str] = dataclasses.field(default_factory=dict)
    objectives: dict[str, str | None] = dataclasses.field(default_factory=dict)
    formula: str = ""
    user_lists: tuple[str, ...] = ()
    history_ages: bool = False
    further_histories: dict[str, int] = dataclasses.field(default_factory=dict)
    precision: str = FLOAT32
    retrieval_items: int = 0
    ranked_candidates: int = 0
    retrieval_weight: float = 0.0

    @property
    def tolerance(self) -> float:
        """How far two computations of one score may lie apart."""
        return SCORE_TOLERANCE[self.precision]

    @property
    def histories(self) -> dict[str, str]:
        """Of each history the inputs of its items and of their ages; the main one first."""
        names = {HISTORY_ITEM_ID: HISTORY_AGE}
        return names | {further_history_items(name): further_history_ages(name) for name in self.further_histories}

    @property
    def content_widths(self) -> dict[str, int]:
        """Modalities whose vectors a request may carry for its candidates, with the width it must give."""
        inputs = self.signatures.get(RANK_WITH_CONTENT, {}).get("inputs", {})
        return {
            name.removeprefix(CONTENT_PREFIX): spec.shape[-1] or 0
            for name, spec in inputs.items()
            if name.startswith(CONTENT_PREFIX)
        }

    def to_json(self) -> str:
        """The contract as indented JSON."""
        values = dataclasses.asdict(self)
        # Contracts did not always have these: of a model without, they are written as before.
        if not self.candidate_inputs:
            del values["candidate_inputs"]
        if not self.objectives:
            del values["objectives"], values["formula"]
        if not self.user_lists:
            del values["user_lists"]
        if not self.history_ages:
            del values["history_ages"]
        if not self.further_histories:
            del values["further_histories"]
        if self.precision == FLOAT32:
            del values["precision"]
        for stage in ("retrieval_items", "ranked_candidates", "retrieval_weight"):
            if not values[stage]:
                del values[stage]
        return json.dumps(values, indent=1) + "\n"

    @classmethod
    def read(cls, model_dir: str | Path) -> ModelContract:
        """Reads the contract of the model in `model_dir`.

        Raises:
            FileNotFoundError: when there is none: the folder is no exported ranking model.
        """
        raw = json.loads(Path(model_dir, CONTRACT_FILE).read_text(encoding="utf-8"))
        raw["signatures"] = {
            name: {
                side: {key: TensorContract(spec["dtype"], tuple(spec["shape"])) for key, spec in tensors.items()}
                for side, tensors in sides.items()
            }
            for name, sides in raw["signatures"].items()
        }
        return cls(**{**raw, "user_lists": tuple(raw.get("user_lists", ()))})
