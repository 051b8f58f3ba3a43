"""`dmf encode` of pictures, with small ONNX models that are made here."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tfx_pipeline.data.encoding.onnx_files import node, write_model
from tfx_pipeline.cli import main
from tfx_pipeline.config import load_config
from tfx_pipeline.config.content import Content
from tfx_pipeline.config.encoding import EncodingConfig
from tfx_pipeline.data.content.build import build_content
from tfx_pipeline.data.encoding.encode import MissingImages, encode
from tfx_pipeline.data.encoding.image_files import ImageFile
from tfx_pipeline.data.encoding.onnx_image import OnnxImageEncoder
from tfx_pipeline.errors import ConfigError, DataError

SIDE, WIDTH = 4, 3 * 4 * 4
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def flat_model(file: Path, shape=("n", 3, SIDE, SIDE), width=WIDTH) -> Path:
    """Gives back what it takes, as vectors."""
    weights = {"sides": np.array([-1, width])}
    nodes = [node("Reshape", ["x", "sides"], "y")]
    return write_model(file, {"x": ("float32", shape)}, nodes, {"y": ["n", width]}, weights)


def noise(height: int, width: int, seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def save(folder: Path, name: str, pixels: np.ndarray, mode: str | None = None, **how) -> Path:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    PIL.Image.fromarray(pixels).convert(mode or "RGB").save(file, **how)
    return file


@pytest.fixture
def folder(tmp_path) -> Path:
    flat_model(tmp_path / "flat.onnx")
    save(tmp_path, "posters/a.png", noise(6, 9))
    save(tmp_path, "posters/b.png", noise(12, 7, seed=1))
    shutil.copy(tmp_path / "posters/a.png", tmp_path / "posters/same as a.png")
    write_items(tmp_path, {"a": "a.png", "b": "b.png", "c": "same as a.png", "d": None, "e": "  "})
    (tmp_path / "shop.yaml").write_text(
        f"""
name: shop
output: out
data:
  interactions: {{path: log.parquet, columns: {{user: u, item: i, time: t, label: y}}}}
  items: {{path: items.parquet, id_column: item_id}}
split: {{fractions: {{train: 0.8, eval: 0.1, test: 0.1}}}}
content: {{modalities: {{poster: {{path: vectors/poster.parquet}}}}}}
encoders:
  poster: {{kind: image, model: {tmp_path}/flat.onnx, column: poster, folder: posters, batch_size: 2}}
"""
    )
    return tmp_path


def write_items(folder: Path, posters: dict[str, str | None]) -> None:
    columns = {"item_id": list(posters), "poster": pa.array(list(posters.values()), pa.string())}
    pq.write_table(pa.table(columns), folder / "items.parquet")


def config_of(folder, *settings):
    return EncodingConfig.of(load_config(folder / "shop.yaml", [f"encoders.poster.{each}" for each in settings]))


def vectors_of(folder) -> dict[str, np.ndarray]:
    table = pq.read_table(folder / "vectors/poster.parquet")
    return {
        item: np.array(vector, np.float32)
        for item, vector in zip(table["item_id"].to_pylist(), table["embedding"].to_pylist(), strict=True)
    }


def by_hand(file: Path, size=(SIDE, SIDE), crop=0.875, bicubic=False, mean=MEAN, std=STD) -> np.ndarray:
    """[3, height, width] in float64: Pillow resizes, NumPy does the rest."""
    picture = PIL.Image.open(file).convert("RGB")
    height, width = size
    how = PIL.Image.BICUBIC if bicubic else PIL.Image.BILINEAR
    if crop is None:
        pixels = np.asarray(picture.resize((width, height), how))
    else:
        scale = max(height / crop / picture.height, width / crop / picture.width)
        resized = picture.resize((round(picture.width * scale), round(picture.height * scale)), how)
        top, left = round((resized.height - height) / 2), round((resized.width - width) / 2)
        pixels = np.asarray(resized)[top : top + height, left : left + width]
    return ((pixels / 255 - mean) / std).transpose(2, 0, 1)


def test_vectors_are_those_of_the_prepared_images(folder):
    summary = encode(config_of(folder), "poster")
    found = vectors_of(folder)
    assert list(found) == ["a", "b", "c"]
    for item in "ab":
        np.testing.assert_allclose(found[item], by_hand(folder / f"posters/{item}.png").ravel(), atol=1e-5)
    np.testing.assert_array_equal(found["a"], found["c"])
    assert summary.images == MissingImages(empty=2, addresses=0, missing=0, broken=0, named=())
    counts = dataclasses.asdict(summary)
    assert {name: counts[name] for name in ("width", "items", "without_text", "encoded", "taken_over", "cut")} == {
        "width": WIDTH,
        "items": 5,
        "without_text": 0,
        "encoded": 2,
        "taken_over": 0,
        "cut": 0,
    }
    table = build_content(config_of(folder).items, Content(modalities=config_of(folder).modalities))
    assert table.modalities["poster"].present.tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(("settings", "by"), [
    (["resize=stretch"], {"crop": None}),
    (["crop=1"], {"crop": 1}),
    (["interpolation=bicubic"], {"bicubic": True}),
    (["mean=[0, 0, 0]", "std=[1, 1, 1]"], {"mean": 0, "std": 1}),
    (["mean=[0.5, 0.4, 0.3]", "std=[0.1, 0.2, 0.3]"],
     {"mean": np.array([0.5, 0.4, 0.3]), "std": np.array([0.1, 0.2, 0.3])}),
])  # fmt: skip
def test_preparation_is_as_configured(folder, settings, by):
    encode(config_of(folder), "poster")
    before = vectors_of(folder)
    # Other settings are another encoder.
    assert encode(config_of(folder, *settings), "poster").encoded == 2
    found = vectors_of(folder)
    for item in "ab":
        np.testing.assert_allclose(found[item], by_hand(folder / f"posters/{item}.png", **by).ravel(), atol=1e-5)
        assert not np.allclose(found[item], before[item], atol=1e-3)
    assert encode(config_of(folder, *settings, "batch_size=1", "threads=1"), "poster").encoded == 0


def test_a_size_of_two_sides_and_channels_last(folder):
    model = flat_model(folder / "last.onnx", ("n", "h", "w", 3), 3 * 5 * 2)
    encode(config_of(folder, f"model={model}", "size=[5, 2]"), "poster")
    for item, found in vectors_of(folder).items():
        file = folder / f"posters/{'a' if item == 'c' else item}.png"
        np.testing.assert_allclose(
            found.reshape(5, 2, 3).transpose(2, 0, 1), by_hand(file, (5, 2)), atol=1e-5, err_msg=item
        )


def test_a_model_of_a_fixed_batch_takes_its_own(folder):
    encode(config_of(folder), "poster")
    before = vectors_of(folder)
    for items in (1, 3):
        model = flat_model(folder / f"{items}.onnx", (items, 3, SIDE, SIDE))
        encode(config_of(folder, f"model={model}"), "poster")
        for item, found in vectors_of(folder).items():
            np.testing.assert_array_equal(found, before[item])


def test_tokens_and_places_are_pooled(folder):
    whole = {"x": ("float32", ("n", 3, SIDE, SIDE))}
    weights = {"sides": np.array([-1, 3, SIDE * SIDE])}
    tokens = write_model(
        folder / "tokens.onnx", whole, [node("Reshape", ["x", "sides"], "y")], {"y": ["n", 3, SIDE * SIDE]}, weights
    )
    maps = write_model(folder / "maps.onnx", whole, [node("Relu", ["x"], "y")], {"y": ["n", 3, SIDE, SIDE]}, {})
    image = by_hand(folder / "posters/a.png")
    for settings, wanted in [
        ([f"model={tokens}"], image.reshape(3, -1).mean(axis=0)),
        ([f"model={tokens}", "pooling=first"], image[0].ravel()),
        ([f"model={maps}"], np.maximum(image, 0).mean(axis=(1, 2))),
    ]:
        encode(config_of(folder, *settings), "poster")
        np.testing.assert_allclose(vectors_of(folder)["a"], wanted, atol=1e-5)
    with pytest.raises(ConfigError, match=r"encoders.poster.pooling: 'first' is of vectors of tokens.*leave it out"):
        encode(config_of(folder, f"model={maps}", "pooling=first"), "poster")


def test_what_cannot_be_used_is_counted_by_reason_and_named(folder, monkeypatch):
    whole = (folder / "posters/a.png").read_bytes()
    photo = save(folder, "posters/whole.jpg", noise(40, 40)).read_bytes()
    for name, content in {
        "text.png": b"no image",
        "cut.png": whole[:-40],
        "cut.jpg": photo[:-300],
        "empty.png": b"",
    }.items():
        (folder / "posters" / name).write_bytes(content)
    save(folder, "posters/large.png", noise(40, 40))
    save(folder, "posters/long.png", noise(1, 900))
    (folder / "posters/folder").mkdir()
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1200)
    posters = {
        "a": str(folder / "posters/a.png"),
        "text": "text.png",
        "cut": "cut.png",
        "jpeg": "cut.jpg",
        "empty": "empty.png",
        "large": "large.png",
        "long": "long.png",
        "gone": "gone.png",
        "folder": "folder",
        "below": "a.png/b.png",
        "nul": "a\0b",
        "name": "x" * 5000,
        "url": "https://example.org/a.png",
        "store": "gs://bucket/a.png",
        "inline": "data:image/png;base64,AAAA",
        "none": None,
    }
    write_items(folder, posters)
    summary = encode(config_of(folder), "poster")
    assert list(vectors_of(folder)) == ["a"]
    assert summary.images is not None
    counts = dataclasses.asdict(summary.images)
    named = " ".join(counts.pop("named"))
    assert counts == {"empty": 1, "addresses": 3, "missing": 5, "broken": 6}
    assert (summary.encoded, summary.items) == (1, 16)
    assert "gone: " in named
    assert "No such file" in named
    # Those are looked at again next time, and nothing else is.
    again = encode(config_of(folder), "poster")
    assert (again.encoded, again.taken_over, again.images.broken) == (0, 1, 6)
    shutil.copy(folder / "posters/a.png", folder / "posters/cut.png")
    assert encode(config_of(folder), "poster").taken_over == 2


def test_larger_than_pillows_limit_is_broken_before_it_is_decoded(folder, monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(
        DataError, match=r"none of the images can be used: .*3 that cannot be read; such as a: .*a.png: 9 x 6"
    ):
        encode(config_of(folder), "poster")


@pytest.mark.parametrize(("posters", "message"), [
    ({"a": "x.png", "b": None},
     "no item of .* has an image file: 1 empty cells, 1 missing files; such as a: .*x.png: No such"),
    ({"a": "http://e.org/a.png", "b": "HTTPS://e.org/b.png"},
     "2 addresses, which are not fetched here: download them first, and give the paths .*; such as a: http://e.org/a"),
    ({"a": "text.png", "b": "text.png"},
     "none of the images can be used: 2 that cannot be read; such as a: .*text.png: cannot identify"),
])  # fmt: skip
def test_a_catalogue_without_an_image_is_refused(folder, posters, message):
    (folder / "posters/text.png").write_text("no image")
    write_items(folder, posters)
    with pytest.raises(DataError, match=message):
        encode(config_of(folder), "poster")
    assert not (folder / "vectors").exists()


def test_only_what_is_new_or_changed_is_encoded(folder):
    encode(config_of(folder), "poster")
    before = vectors_of(folder)
    # Another name and another time, but the same bytes; and the same name, but other bytes.
    shutil.move(folder / "posters/a.png", folder / "posters/moved.png")
    save(folder, "posters/b.png", noise(5, 5, seed=2))
    write_items(folder, {"b": "b.png", "a": "moved.png", "f": "moved.png"})
    summary = encode(config_of(folder), "poster")
    after = vectors_of(folder)
    assert (summary.encoded, summary.taken_over) == (1, 2)
    np.testing.assert_array_equal(after["a"], before["a"])
    np.testing.assert_array_equal(after["f"], before["a"])
    assert not np.array_equal(after["b"], before["b"])


def test_a_killed_run_goes_on(folder, monkeypatch):
    monkeypatch.setattr(OnnxImageEncoder, "block", 1)

    def killed(done, images, rate):
        assert images == 2
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(config_of(folder), "poster", killed)
    assert not (folder / "vectors/poster.parquet").exists()
    summary = encode(config_of(folder), "poster")
    assert (summary.encoded, summary.taken_over) == (1, 2)
    assert [file.name for file in (folder / "vectors").iterdir()] == ["poster.parquet"]


def test_a_file_that_changes_meanwhile_has_failed(folder):
    encoder = OnnxImageEncoder("poster", config_of(folder).encoders["poster"])
    found = encoder.encode([ImageFile(folder / "posters/a.png", b"other"), ImageFile(folder / "gone.png", b"")])
    assert "changed while it was read" in found.failed[0]
    assert "No such file" in found.failed[1]


def test_no_more_than_a_few_batches_are_decoded_ahead(folder, monkeypatch):
    encoder = OnnxImageEncoder("poster", config_of(folder).encoders["poster"])
    lock, alive, most = threading.Lock(), 0, 0
    decode, run = encoder._decode, encoder._vectors

    def decoding(file):
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        return decode(file)

    def running(images, count, file):
        nonlocal alive
        with lock:
            alive -= count
        return run(images, count, file)

    monkeypatch.setattr(encoder, "_decode", decoding)
    monkeypatch.setattr(encoder, "_vectors", running)
    (file,) = (each for each in encoder.read(config_of(folder).items).values.values() if each.path.name == "b.png")
    found = encoder.encode([file] * 101)
    assert not found.failed
    assert len(np.unique(found.vectors, axis=0)) == 1
    # Batches of 2: two that wait, one that is filled, and one image on its way.
    assert most <= 7


def models(folder: Path) -> dict[str, Path]:
    """Of what is no image model, and of those that leave something open."""
    relu, made = [node("Relu", ["x"], "y")], {}
    for name, shape in {
        "rank": ("n", 3, SIDE),
        "grey": ("n", 1, SIDE, SIDE),
        "open": ("n", "c", "h", "w"),
        "both": (1, 3, 8, 3),
        "sides": ("n", 3, "h", "w"),
    }.items():
        made[name] = write_model(folder / f"{name}.onnx", {"x": ("float32", shape)}, relu, {"y": shape}, {})
    made["ids"] = write_model(
        folder / "ids.onnx",
        {"x": ("int64", ("n", 3, 4, 4))},
        [node("Cast", ["x"], "y", to=1)],
        {"y": ("n", 3, 4, 4)},
        {},
    )
    two = {"x": ("float32", ("n", 3, 4, 4)), "z": ("float32", ("n", 3, 4, 4))}
    made["two"] = write_model(folder / "two.onnx", two, [node("Add", ["x", "z"], "y")], {"y": ("n", 3, 4, 4)}, {})
    image = {"x": ("float32", ("n", 3, SIDE, SIDE))}
    made["number"] = write_model(
        folder / "number.onnx", image, [node("ReduceMean", ["x"], "y", keepdims=0)], {"y": ()}, {}
    )
    made["width"] = flat_model(folder / "width.onnx", ("n", 3, "h", "w"), 100)
    return made


@pytest.mark.parametrize(("model", "settings", "message"), [
    ("none", [], "encoders.poster.model: there is no file .*none.onnx"),
    ("rank", [], r"takes x \(tensor\(float\) \['n', 3, 4\]\); expected one input of float"),
    ("ids", [], r"takes x \(tensor\(int64\).*expected one input"),
    ("two", [], r"takes x \(.*\), z \(.*\); expected one input"),
    ("grey", [], r"takes \['n', 1, 4, 4\]; expected images of 3 channels"),
    ("open", [], r"encoders.poster.layout: .*does not say where the channels are; give layout: NCHW"),
    ("both", [], r"encoders.poster.layout: .*does not say where the channels are"),
    ("open", ["layout=NHWC"], r"encoders.poster.size: .*does not say how large images are.*such as size: 224"),
    ("sides", [], "encoders.poster.size: .*does not say how large"),
    ("sides", ["layout=NHWC"], "encoders.poster.layout: NHWC, but .*leave it out, or give NCHW"),
    ("flat", ["size=5"], r"encoders.poster.size: \[5, 5\], but .* takes \['n', 3, 4, 4\]; leave it out"),
    ("flat", ["size=[4, 5]"], r"encoders.poster.size: \[4, 5\], but"),
    ("flat", ["output=z"], "encoders.poster.output: .* has no output 'z'; it has: y"),
    ("number", [], r"encoders.poster.output: 'y' of .* has the shape \[\] of 1 images; expected vectors"),
    ("width", ["size=4"], r"encoders.poster.model: .* fails on images of \[1, 3, 4, 4\]"),
])  # fmt: skip
def test_a_model_that_does_not_fit_is_refused_before_any_work(folder, model, settings, message):
    models(folder)
    # Nothing has looked at the catalogue.
    (folder / "items.parquet").unlink()
    with pytest.raises(ConfigError, match=message):
        encode(config_of(folder, f"model={folder / model}.onnx", *settings), "poster")


def test_an_open_model_takes_what_the_configuration_says(folder):
    model = models(folder)["open"]
    encode(config_of(folder, f"model={model}", "layout=NCHW", "size=8"), "poster")
    wanted = np.maximum(by_hand(folder / "posters/b.png", (8, 8)), 0).mean(axis=(1, 2))
    np.testing.assert_allclose(vectors_of(folder)["b"], wanted, atol=1e-5)


def test_a_model_that_makes_one_vector_of_a_batch_is_refused(folder):
    """One that was exported for single images, whatever its input says."""
    weights, nodes = {"sides": np.array([1, -1])}, [node("Reshape", ["x", "sides"], "y")]
    shape = ("n", 3, SIDE, SIDE)
    write_model(folder / "single.onnx", {"x": ("float32", shape)}, nodes, {"y": ["n", "w"]}, weights)
    with pytest.raises(DataError, match=rf"single\.onnx gives \[1, {2 * WIDTH}\] for 2 images.* set batch_size: 1"):
        encode(config_of(folder, f"model={folder}/single.onnx"), "poster")
    encode(config_of(folder, f"model={folder}/single.onnx", "batch_size=1"), "poster")
    np.testing.assert_allclose(vectors_of(folder)["b"], by_hand(folder / "posters/b.png").ravel(), atol=1e-5)


def test_vectors_that_are_not_finite_are_refused(folder):
    model = write_model(
        folder / "log.onnx",
        {"x": ("float32", ("n", 3, SIDE, SIDE))},
        [node("Log", ["x"], "y")],
        {"y": ("n", 3, 4, 4)},
        {},
    )
    with pytest.raises(DataError, match=r"gives no finite vector for an image of the batch that begins with .*a.png"):
        encode(config_of(folder, f"model={model}"), "poster")


@pytest.mark.parametrize(("settings", "message"), [
    (["size=0"], "encoders.poster.size"),
    (["size=[1, 2, 3]"], "encoders.poster.size"),
    (["std=[0, 1, 1]"], "encoders.poster.std"),
    (["mean=[0.5]"], "encoders.poster.mean"),
    (["columns=[poster]"], "encoders.poster.columns: unknown key; did you mean 'column'"),
    (["tokenizer=a"], "encoders.poster.tokenizer: unknown key"),
])  # fmt: skip
def test_configuration_refuses(folder, settings, message):
    with pytest.raises(ConfigError, match=message):
        config_of(folder, *settings)


def test_the_folder_is_that_of_the_configuration_unless_it_is_given(folder):
    text = (folder / "shop.yaml").read_text().replace("folder: posters, ", "")
    (folder / "shop.yaml").write_text(text)
    write_items(folder, {"a": "posters/a.png"})
    assert encode(config_of(folder), "poster").encoded == 1


def test_command(folder, capsys):
    write_items(folder, {"a": "a.png", "b": "x.png", "c": "http://e.org/c.png", "d": None})
    report = folder / "report.json"
    assert main(["encode", "--config", str(folder / "shop.yaml"), "--json", str(report)]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "poster: 4 items, 48 wide: 1 images encoded in" in said
    assert (
        "0 items as before, 1 without an image, 1 with an address, which is not fetched, 1 whose file is missing"
        in said
    )
    assert "b: " in said
    (written,) = json.loads(report.read_text())["encoders"]
    assert (written["images"]["missing"], written["images"]["addresses"], written["encoded"]) == (1, 1, 1)
    assert len(written["images"]["named"]) == 2


def test_without_the_extra_it_says_what_to_install(folder, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "PIL" else find(name))
    with pytest.raises(ConfigError, match=r"needs Pillow, .*pip install 'dmf-ranking\[encode\]'"):
        encode(config_of(folder), "poster")
