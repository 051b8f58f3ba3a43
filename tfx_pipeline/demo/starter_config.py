"""A configuration for synthetic logs, ready for `dmf run` and `dmf compare`."""

from __future__ import annotations

from typing import Any

import yaml

_HEADER = """\
# For the synthetic logs beside it, world '{world}': what makes its users click is in docs/WORLDS.md of dmf-ranking.
#   dmf run --config {path}
#   dmf compare --config {path}
# Every key: docs/CONFIG.md. Paths are relative to this file.
"""


def starter_config(world: str, path: str) -> str:
    """The text of a configuration whose data lie in `data/` beside it, and whose output goes to `output/`.

    Args:
        world: its name, which the pipeline has too.
        path: of the configuration, for the commands in its first lines.
    """
    values: dict[str, Any] = {
        "name": world,
        "output": "output",
        "data": {
            "interactions": {
                "path": "data/interactions.parquet",
                "columns": {
                    "user": "user_id",
                    "item": "item_id",
                    "time": "time",
                    "label": "clicked",
                    "request": "request_id",
                },
                "time_unit": "iso8601",
            },
            "items": {"path": "data/items.csv", "title_column": "title"},
            "users": {"path": "data/users.jsonl"},
        },
        "history": {"max_length": 50},
        "split": {"fractions": {"train": 0.8, "eval": 0.1, "test": 0.1}},
        "features": {
            "user_id": {},
            # Items that are shown too seldom to be learnt train the row that stands for all that are new.
            "item_id": {"min_count": 20},
            "user": {"gender": {"kind": "categorical"}, "age": {"kind": "numeric", "scaling": "quantiles"}},
            "context": {"device": {"kind": "categorical"}},
        },
        "content": {
            "modalities": {
                "text": {"path": "data/text_embeddings.parquet"},
                "image": {"path": "data/image_embeddings.npz"},
            }
        },
        "model": {"name": "dmf"},
        "training": {"batch_size": 128, "epochs": 12, "patience": 2},
        "comparison": {
            "models": {
                name: {}
                for name in ("dmf", "dmf_enriched", "dmf_centric", "target_attention", "simtier", "mean_pooling")
            },
            "seeds": 3,
            "reference": "dmf",
        },
    }
    return _HEADER.format(world=world, path=path) + yaml.safe_dump(values, sort_keys=False)
