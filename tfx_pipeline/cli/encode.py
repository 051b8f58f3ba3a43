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
        help="make the vectors of items out of the catalogue's text, by an ONNX model",
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
    from tfx_pipeline.config.spelling import did_you_mean
    from tfx_pipeline.console import console
    from tfx_pipeline.data.encoding.encode import encode
    from tfx_pipeline.errors import ConfigError
    from tfx_pipeline.files.writing import write_json

    config = configuration(parsed)
    names = list(config.encoders) if parsed.modality is None else [parsed.modality]
    if not config.encoders:
        raise ConfigError("encoders: there are none, and so nothing to encode; see docs/CONTENT.md")
    for name in names:
        if name not in config.encoders:
            meant = did_you_mean(name, list(config.encoders))
            said = f" ({meant})" if meant else ""
            raise ConfigError(f"--modality: no encoder '{name}'{said}; encoders: {', '.join(config.encoders)}")
    summaries = []
    for name in names:
        with console().status(f"{name}: loading the encoder") as status:

            def watch(done: int, texts: int, rate: float, name: str = name) -> None:
                left = (texts - done) / max(rate, 1e-9)
                status.update(f"{name}: {done:,} of {texts:,} texts, {rate:,.0f} a second, {left / 60:.0f} min left")

            summary = encode(config, name, watch)
        summaries.append(summary)
        rate = f", {summary.encoded / summary.seconds:,.0f} texts a second" if summary.encoded else ""
        console().print(
            f"{name}: {summary.items:,} items, {summary.width} wide: {summary.encoded:,} texts encoded in "
            f"{summary.seconds:.0f} s{rate}; {summary.taken_over:,} items as before, {summary.without_text:,} without "
            f"text, {summary.cut:,} cut at {config.encoders[name].max_tokens} tokens\n{summary.path}",
            highlight=False,
            soft_wrap=True,
        )
    if parsed.json is not None:
        write_json(parsed.json, {"encoders": [summary.to_json() for summary in summaries]})
    return exit_status.OK
