"""`dmf retrieval evaluate` and `dmf retrieval compare`."""

from __future__ import annotations

import argparse

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import comma_separated, count, counts, output_file, weights
from tfx_pipeline.cli.options import Commands, add_config, add_group, add_overrides, configuration
from tfx_pipeline.errors import ConfigError


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
        help="popularity, co_occurrence, content, content@MODALITY, two_towers, two_towers@approximate; default: all "
        "of them, content joined, two_towers where the pipeline has trained it, by an exact search",
    )
    evaluate.add_argument(
        "--cascade",
        action="store_true",
        help="also rank what each retriever found by the pipeline's last ranker, of 100, 500 and 1000 items, and the "
        "whole catalogue by it",
    )
    _add_weights(evaluate, "with --cascade, ")
    _add_lists(evaluate)
    evaluate.set_defaults(command=run, resumes=True)
    _add_compare(group)


def _add_compare(group: Commands) -> None:
    parser = group.add_parser(
        "compare",
        help="train towers with several seeds and compare them, and baselines, against the whole catalogue",
        description="Trains two towers with every seed, with and without content as their labels say, and asks all of "
        "them and baselines for the best k items of every request of a split. Early stopping looks at the eval split. "
        "What is finished is not trained again.",
    )
    add_config(parser)
    parser.add_argument(
        "--towers",
        type=comma_separated,
        metavar="A,B,C",
        help="two_towers, each with @MODALITY[+MODALITY] for some of the modalities only, and with ~content, ~items, "
        "~ages or ~sequences to go without content, columns of items, ages or further histories; default: two_towers, "
        "and two_towers~content where there is content",
    )
    parser.add_argument("--seeds", type=count, metavar="K", help="trainings of each; default: comparison.seeds")
    parser.add_argument(
        "--reference", metavar="NAME", help="towers or baseline that the others are compared with; default: the first"
    )
    parser.add_argument(
        "--retrievers",
        type=comma_separated,
        metavar="A,B,C",
        help="baselines: popularity, co_occurrence, content, content@MODALITY; default: all of them, content joined",
    )
    parser.add_argument(
        "--rankers",
        type=comma_separated,
        default=(),
        metavar="A,B,C",
        help="models of the registry, trained with the same seeds, that rank what the towers of their seed retrieved, "
        "of 100, 500 and 1000 items",
    )
    _add_weights(parser, "with --rankers, ")
    _add_lists(parser)
    parser.set_defaults(command=_run_compare, resumes=True)


def _add_weights(parser: argparse.ArgumentParser, where: str) -> None:
    parser.add_argument(
        "--weights",
        type=weights,
        metavar="W,W",
        help=f"{where}also order what towers retrieved and the model ranked by logit(probability) + W x the score of "
        "retrieval; default: stages.ranking.retrieval_weight",
    )


def _add_lists(parser: argparse.ArgumentParser) -> None:
    """What both commands ask for: --k, --split, --json, --set."""
    parser.add_argument(
        "--k",
        type=counts,
        metavar="N,N",
        help="cut-offs; default: those of 5,10,100,500,1000 that the catalogue has items for",
    )
    parser.add_argument("--split", choices=("eval", "test"), default="test", help="default: test")
    parser.add_argument("--json", type=output_file, metavar="FILE", help="also write the report to FILE")
    add_overrides(parser)


def run(parsed: argparse.Namespace) -> int:
    """Evaluates retrievers and prints the report; returns the exit status."""
    from tfx_pipeline.console import console
    from tfx_pipeline.files.writing import write_json
    from tfx_pipeline.studies.retrieval.evaluation import evaluate_retrieval
    from tfx_pipeline.studies.retrieval.tables import print_report

    config = configuration(parsed)
    if parsed.weights is not None and not parsed.cascade:
        raise ConfigError("--weights orders what a ranker made of retrieved items; give --cascade too")
    report = evaluate_retrieval(
        config, parsed.retrievers, parsed.k, parsed.split, cascade=parsed.cascade, weights=parsed.weights
    )
    if parsed.json is not None:
        write_json(parsed.json, report.to_json())
    print_report(report, console())
    return exit_status.OK


def _run_compare(parsed: argparse.Namespace) -> int:
    """Compares towers and baselines and prints the report; returns the exit status."""
    from tfx_pipeline.console import console
    from tfx_pipeline.files.writing import write_json
    from tfx_pipeline.studies.retrieval.compare.comparison import PAGE, REPORT, compare_retrieval, retrieval_folder
    from tfx_pipeline.studies.retrieval.compare.tables import print_comparison

    config = configuration(parsed)
    if parsed.weights is not None and not parsed.rankers:
        raise ConfigError("--weights orders what a ranker made of retrieved items; give --rankers too")
    report = compare_retrieval(
        config,
        parsed.towers,
        parsed.seeds,
        parsed.reference,
        parsed.retrievers,
        parsed.k,
        parsed.split,
        parsed.rankers,
        parsed.weights,
    )
    if parsed.json is not None:
        write_json(parsed.json, report.to_json())
    out = console()
    print_comparison(report, out)
    for name, file in (("report", REPORT), ("page", PAGE)):
        out.print(f"{name}: {retrieval_folder(config) / file}", highlight=False, soft_wrap=True)
    return exit_status.OK
