"""Encoders of every kind by one call, and what to say of what they did: for `dmf encode` and for the pipeline."""

from __future__ import annotations

from collections.abc import Callable

from tfx_pipeline.config.encoders import Encoder
from tfx_pipeline.config.encoding import EncodingConfig
from tfx_pipeline.data.encoding.encode import EncodingSummary, encode

# Is told in words what goes on.
Say = Callable[[str], None]


def encode_modality(config: EncodingConfig, name: str, say: Say) -> EncodingSummary:
    """Makes the vectors of a modality by its encoder and writes them to the modality's `path`.

    Args:
        config: the encoder, its modality and the catalogue.
        name: of both.
        say: is told of the progress, again and again.

    Raises:
        ConfigError: the encoder's files or libraries are not there or do not fit.
        DataError: the catalogue, the file that is there, or what is to be encoded cannot be used.
    """
    kind = config.encoders[name].kind
    what = "images" if kind == "image" else "texts"

    def watch(done: int, all_of_them: int, rate: float) -> None:
        left = (all_of_them - done) / max(rate, 1e-9)
        say(f"{name}: {done:,} of {all_of_them:,} {what}, {rate:,.0f} a second, {left / 60:.0f} min left")

    def watch_training(epoch: int, epochs: int, loss: float, seconds: float) -> None:
        left = seconds / epoch * (epochs - epoch)
        say(f"{name}: epoch {epoch} of {epochs}, loss {loss:.3f}, {left / 60:.0f} min left")

    if kind == "keras":
        # TensorFlow takes seconds to load, and the other kinds do without.
        from tfx_pipeline.training.text_tower.encoder import encode_by_tower

        return encode_by_tower(config, name, watch, watch_training)
    return encode(config, name, watch)


def told_of(summary: EncodingSummary, settings: Encoder) -> list[str]:
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
        *_told_of_training(summary),
        f"{summary.modality}: {summary.items:,} items, {summary.width} wide: {summary.encoded:,} {what} encoded in "
        f"{summary.seconds:.0f} s{rate}; {summary.taken_over:,} items as before, {rest}",
        *(f"  {each}" for each in named),
        summary.path,
    ]


def _told_of_training(summary: EncodingSummary) -> list[str]:
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
