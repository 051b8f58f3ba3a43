"""Synthetic logs whose click probabilities are known, so that what a model learnt can be told from what could be."""

from tfx_pipeline.demo.attainable import AttainableSplit, PartWorth, attainable, attainable_by_part
from tfx_pipeline.demo.parts import WORLDS, World, WorldParts
from tfx_pipeline.demo.synthetic import write_demo_logs

__all__ = [
    "WORLDS",
    "AttainableSplit",
    "PartWorth",
    "World",
    "WorldParts",
    "attainable",
    "attainable_by_part",
    "write_demo_logs",
]
