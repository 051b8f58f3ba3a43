"""`dmf encode`."""

from __future__ import annotations

import argparse

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import output_file
from tfx_pipeline.cli.options import Commands, add_config, add_overrides, configuration


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser(
        "encode",
        help="make the vectors of items out of the catalogue's text or pictures",
        description="Runs the models of `encoders` over the catalogue and writes the files that the modalities of the "
        "same names read. Only what is new or changed is encoded; a killed run goes on.",
    )
    add_config(parser)
    parser.add_argument("--modality", metavar="NAME", help="of `encoders`; default: all of them")
    parser.add_argument("--json", type=output_file, metavar="FILE", help="also write what was done to FILE")
    add_overrides(parser)
    parser.set_defaults(command=run, resumes=True)


def run(parsed: argparse.Namespace) -> int:
    """Encodes and says what was done; returns the exit status."""
    from tfx_pipeline.config.encoders import in_order
    from tfx_pipeline.config.encoding import EncodingConfig
    from tfx_pipeline.config.spelling import did_you_mean
    from tfx_pipeline.console import console
    from tfx_pipeline.errors import ConfigError
    from tfx_pipeline.files.writing import write_json
    from tfx_pipeline.training.content_encoding import encode_modality, told_of

    config = configuration(parsed)
    names = list(config.encoders) if parsed.modality is None else [parsed.modality]
    if not config.encoders:
        raise ConfigError("encoders: there are none, and so nothing to encode; see docs/CONTENT.md")
    for name in names:
        if name not in config.encoders:
            meant = did_you_mean(name, list(config.encoders))
            said = f" ({meant})" if meant else ""
            raise ConfigError(f"--modality: no encoder '{name}'{said}; encoders: {', '.join(config.encoders)}")
    sections, summaries = EncodingConfig.of(config), []
    for name in in_order(config.encoders, names):
        with console().status(f"{name}: loading the encoder") as status:
            summary = encode_modality(sections, name, status.update)
        summaries.append(summary)
        for line in told_of(summary, config.encoders[name]):
            console().print(line, highlight=False, soft_wrap=True)
    if parsed.json is not None:
        write_json(parsed.json, {"encoders": [summary.to_json() for summary in summaries]})
    return exit_status.OK
