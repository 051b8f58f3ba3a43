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
    # What others are trained against is made first.
    names.sort(key=lambda name: getattr(config.encoders[name], "against", None) is not None)
    summaries = []
    for name in names:
        what = "images" if config.encoders[name].kind == "image" else "texts"
        with console().status(f"{name}: loading the encoder") as status:

            def watch(done: int, all_of_them: int, rate: float, name: str = name, what: str = what) -> None:
                left = (all_of_them - done) / max(rate, 1e-9)
                status.update(
                    f"{name}: {done:,} of {all_of_them:,} {what}, {rate:,.0f} a second, {left / 60:.0f} min left"
                )

            def watch_training(epoch: int, epochs: int, loss: float, seconds: float, name: str = name) -> None:
                left = seconds / epoch * (epochs - epoch)
                status.update(f"{name}: epoch {epoch} of {epochs}, loss {loss:.3f}, {left / 60:.0f} min left")

            if config.encoders[name].kind == "keras":
                # TensorFlow takes seconds to load, and the other kinds do without.
                from tfx_pipeline.training.text_tower.encoder import encode_by_tower

                summary = encode_by_tower(config, name, watch, watch_training)
            else:
                summary = encode(config, name, watch)
        summaries.append(summary)
        for line in _said(summary, config.encoders[name]):
            console().print(line, highlight=False, soft_wrap=True)
    if parsed.json is not None:
        write_json(parsed.json, {"encoders": [summary.to_json() for summary in summaries]})
    return exit_status.OK


def _said(summary: EncodingSummary, settings: Encoder) -> list[str]:
    """What was done, in lines."""
    named: tuple[str, ...] = ()
    if settings.kind == "image":
        assert summary.images is not None
        what, images, named = "images", summary.images, summary.images.named
        rest = (
            f"{images.empty:,} without an image, {images.addresses:,} with an address, which is not fetched, "
            f"{images.missing:,} whose file is missing, {images.broken:,} whose image is broken"
        )
    else:
        most = f"{settings.max_words} words" if settings.kind == "keras" else f"{settings.max_tokens} tokens"
        what, rest = "texts", f"{summary.without_text:,} without text, {summary.cut:,} cut at {most}"
    rate = f", {summary.encoded / summary.seconds:,.0f} {what} a second" if summary.encoded else ""
    return [
        *_said_of_training(summary),
        f"{summary.modality}: {summary.items:,} items, {summary.width} wide: {summary.encoded:,} {what} encoded in "
        f"{summary.seconds:.0f} s{rate}; {summary.taken_over:,} items as before, {rest}",
        *(f"  {each}" for each in named),
        summary.path,
    ]


def _said_of_training(summary: EncodingSummary) -> list[str]:
    """What became of an encoder of our own; nothing of others."""
    training = summary.training
    if training is None:
        return []
    if not summary.trained:
        return [f"{summary.modality}: the encoder of an earlier run is taken over"]
    said = f"{summary.modality}: trained on {training.texts:,} texts in {training.seconds:.0f} s"
    if training.accuracy_before is not None and training.accuracy_after is not None:
        said += (
            f"; of {training.held_out:,} texts held out {training.accuracy_after:.1%} find their partner, "
            f"{training.accuracy_before:.1%} before training"
        )
    return [said]
