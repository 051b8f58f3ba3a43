"""TFX's Trainer with the content artifact, the raw requests and the ingestion report as further inputs."""

from tfx_pipeline.components.ranking_trainer.component import RankingTrainer

__all__ = ["RankingTrainer"]
