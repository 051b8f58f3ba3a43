"""Names of the files inside the pipeline's artifacts: what one step writes, another step or a page reads."""

from __future__ import annotations

# IngestionReport, of BehaviorLogExampleGen.
INGESTION_REPORT = "report.json"
QUARANTINE = "quarantine.jsonl"
# EncodedContent, of ContentEncoder.
ENCODING = "encoding.json"
ENCODED = ".parquet"
"""Behind a modality's name: the file of its vectors."""
# ItemContent, of ItemContentGen; the exported model carries the ids among its assets.
CONTENT_MANIFEST = "content.json"
ITEM_IDS = "item_ids.txt"
# And where ContentTuner made it.
FINE_TUNING = "fine_tuning.json"
# ModelRun, of RankingTrainer.
KERAS_MODEL = "model.keras"
TRAINING_RESULT = "training.json"
# ModelRun, of RetrievalTrainer.
TWO_TOWERS = "two_towers.keras"
# InfraBlessing, of ServingGate.
GATE_REPORT = "report.json"
# TunerResults, of RankingTuner; `dmf tune` leaves the same file in its folder.
SEARCH_REPORT = "tune.json"

# Model, of PushedBaseline: in place of one that is not there, and then also a property of the artifact, 1.
ABSENT = "absent"
