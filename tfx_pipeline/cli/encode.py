"""`dmf encode`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import output_file
from tfx_pipeline.cli.options import Commands, add_config, add_overrides, configuration

if TYPE_CHECKING:
    from tfx_pipeline.config.encoders import Encoder
    from tfx_pipeline.data.encoding.encode import EncodingSummary


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser(
        "encode",
        help="make the vectors of items out of the catalogue's text or pictures, by an ONNX model",
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
        what = "images" if config.encoders[name].kind == "image" else "texts"
        with console().status(f"{name}: loading the encoder") as status:

            def watch(done: int, all_of_them: int, rate: float, name: str = name, what: str = what) -> None:
                left = (all_of_them - done) / max(rate, 1e-9)
                status.update(
                    f"{name}: {done:,} of {all_of_them:,} {what}, {rate:,.0f} a second, {left / 60:.0f} min left"
                )

            summary = encode(config, name, watch)
        summaries.append(summary)
        console().print(_said(summary, config.encoders[name]), highlight=False, soft_wrap=True)
    if parsed.json is not None:
        write_json(parsed.json, {"encoders": [summary.to_json() for summary in summaries]})
    return exit_status.OK


def _said(summary: EncodingSummary, settings: Encoder) -> str:
    if settings.kind == "image":
        assert summary.images is not None
        what, images = "images", summary.images
        rest = (
            f"{images.empty:,} without an image, {images.addresses:,} with an address, which is not fetched, "
            f"{images.missing:,} whose file is missing, {images.broken:,} whose image is broken"
        ) + "".join(f"\n  {named}" for named in images.named)
    else:
        what = "texts"
        rest = f"{summary.without_text:,} without text, {summary.cut:,} cut at {settings.max_tokens} tokens"
    rate = f", {summary.encoded / summary.seconds:,.0f} {what} a second" if summary.encoded else ""
    return (
        f"{summary.modality}: {summary.items:,} items, {summary.width} wide: {summary.encoded:,} {what} encoded in "
        f"{summary.seconds:.0f} s{rate}; {summary.taken_over:,} items as before, {rest}\n{summary.path}"
    )
