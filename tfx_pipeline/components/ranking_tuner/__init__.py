"""TFX's Tuner with the content artifact and the raw requests as further inputs."""

from tfx_pipeline.components.ranking_tuner.component import RankingTuner

__all__ = ["RankingTuner"]
