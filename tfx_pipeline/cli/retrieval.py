"""`dmf retrieval evaluate`."""

from __future__ import annotations

import argparse

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import comma_separated, count, output_file
from tfx_pipeline.cli.options import Commands, add_config, add_group, add_overrides, configuration


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    group = add_group(commands, "retrieval", "find items among the whole catalogue, before they are ranked")
    evaluate = group.add_parser(
        "evaluate",
        help="recall, NDCG, coverage of retrievers against the whole catalogue",
        description="Asks retrievers for the best k items of every request of a split. Baselines are counted in the "
        "train split; two_towers is that of the pipeline's last run.",
    )
    add_config(evaluate)
    evaluate.add_argument(
        "--retrievers",
        type=comma_separated,
        metavar="A,B,C",
        help="popularity, co_occurrence, content, content@MODALITY, two_towers; default: all of them, content joined, "
        "two_towers where the pipeline has trained it",
    )
    evaluate.add_argument(
        "--k",
        type=_counts,
        metavar="N,N",
        help="cut-offs; default: those of 5,10,100,500,1000 that the catalogue has items for",
    )
    evaluate.add_argument("--split", choices=("eval", "test"), default="test", help="default: test")
    evaluate.add_argument(
        "--cascade",
        action="store_true",
        help="also rank what each retriever found by the pipeline's last ranker, of 100, 500 and 1000 items, and the "
        "whole catalogue by it",
    )
    evaluate.add_argument("--json", type=output_file, metavar="FILE", help="also write the report to FILE")
    add_overrides(evaluate)
    evaluate.set_defaults(command=run, resumes=True)


def run(parsed: argparse.Namespace) -> int:
    """Evaluates retrievers and prints the report; returns the exit status."""
    from tfx_pipeline.console import console
    from tfx_pipeline.files.writing import write_json
    from tfx_pipeline.studies.retrieval.evaluation import evaluate_retrieval
    from tfx_pipeline.studies.retrieval.tables import print_report

    config = configuration(parsed)
    report = evaluate_retrieval(config, parsed.retrievers, parsed.k, parsed.split, cascade=parsed.cascade)
    if parsed.json is not None:
        write_json(parsed.json, report.to_json())
    print_report(report, console())
    return exit_status.OK


def _counts(text: str) -> list[int]:
    """Whole numbers of at least 1."""
    return [count(each) for each in comma_separated(text)]
