"""A configuration for synthetic logs, ready for `dmf run` and `dmf compare`."""

from __future__ import annotations

from typing import Any

import yaml

from tfx_pipeline.studies.worlds.parts import World

_HEADER = """\
# For the synthetic logs beside it, world '{world}': docs/WORLDS.md of dmf-ranking says what makes its users click.
#   dmf run --config {path}
#   dmf compare --config {path}
# Paths are relative to this file. Every key: docs/CONFIG.md.
"""
_MODELS = ("dmf", "dmf_paper", "dmf_enriched", "dmf_centric", "simtier", "target_attention", "mean_pooling")

_POSITION = {"kind": "categorical", "role": "bias", "serving_value": "1"}


def starter_config(name: str, world: World, path: str) -> str:
    """The text of a configuration whose data lie in `data/` beside it, and whose output goes to `output/`.

    Args:
        name: of the world and of the pipeline.
        world: what makes its users click.
        path: of the configuration, for the commands in its first lines.
    """
    text, image = {"path": "data/text_embeddings.parquet"}, {"path": "data/image_embeddings.npz"}
    # Where clicks are counted, all that there is to know of a user lies in the history, and pictures say nothing.
    averages = world.recall == "average"
    labels: tuple[str, ...] = ("mean_pooling", "mean_pooling~candidates") if world.examination else _MODELS
    values: dict[str, Any] = {
        "name": name,
        "output": "output",
        "data": {
            "interactions": {
                "path": "data/interactions.parquet",
                "columns": {"time": "time", "label": "clicked", "request": "request_id"},
                "time_unit": "iso8601",
            },
            "items": {"path": "data/items.csv", "title_column": "title"},
            "users": {"path": "data/users.jsonl"},
        },
        "history": {"max_length": 50},
        "split": {"fractions": {"train": 0.8, "eval": 0.1, "test": 0.1}},
        "features": {
            **({"user_id": {}} if averages else {}),
            # Items that are shown too seldom to be learnt train the row that stands for all that are new.
            "item_id": {"min_count": 20},
            "user": {"gender": {"kind": "categorical"}, "age": {"kind": "numeric", "scaling": "quantiles"}},
            "context": {"device": {"kind": "categorical"}},
            **({"candidate": {"position": _POSITION}} if world.examination else {}),
        },
        "content": {"modalities": {"text": text, "image": image} if averages else {"text": text}},
        "model": {"name": labels[0]},
        # What takes ids and content together shows late: for some epochs eval AUC may not move.
        "training": {"batch_size": 128, "epochs": 16, "patience": 4, "learning_rate": 0.003},
        "comparison": {"models": {label: {} for label in labels}, "seeds": 3, "reference": labels[0]},
    }
    if world.recall == "hidden":
        # As wide as the text is, so that nothing that is quiet is lost before training.
        values["content"]["fine_tuning"] = {"dim": 16}
        labels = ("dmf@text", "dmf@text_tuned", "content_concat@text")
        values["comparison"] = {"models": {label: {} for label in labels}, "seeds": 3, "reference": labels[0]}
        values["model"] = {"name": "dmf"}
    if world.examination:
        # Scores are those of the first position; clicks have been counted at all of them.
        values["serving"] = {"calibration": "platt"}
        values["training"] = {"batch_size": 256, "epochs": 25, "patience": 5, "learning_rate": 0.003}
    if world.purchases is not None:
        values["objectives"] = {"click": {"label": "clicked"}, "buy": {"label": "bought", "given": "click"}}
        values["serving"] = {"score": "click * buy"}
        values["evaluation"] = {"thresholds": {"auc": {"min": 0.6}, "buy/auc": {"min": 0.6}}}
    return _HEADER.format(world=name, path=path) + yaml.safe_dump(values, sort_keys=False)
