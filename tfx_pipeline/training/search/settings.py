"""What the search of the pipeline takes of the configuration."""

from __future__ import annotations

import dataclasses

from tfx_pipeline.config.tuning import Tuning
from tfx_pipeline.training.settings import Settings, taken


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchSettings(Settings):
    """Settings of `RankingTuner`.

    Attributes:
        code: digest of the code that trains and scores.
        trials_folder: keeps what trials came to, so that a search that was killed goes on.
        max_history: `history.max_length`.
        sequences: the most items of each further history, by name.
    """

    trials_folder: str = dataclasses.field(metadata=taken(lambda config: str(config.output / "tune" / "trials")))
    max_history: int = dataclasses.field(metadata=taken(lambda config: config.history.max_length))
    tuning: Tuning
    sequences: dict[str, int] = dataclasses.field(
        default_factory=dict, metadata=taken(lambda config: config.history.longest_sequences, later=True)
    )
