"""Pairs on disk: all of a key in one part, nothing left behind."""

from __future__ import annotations

import errno
import os

import pytest

from tfx_pipeline.files.spill import MAX_PARTS, Spill


@pytest.mark.parametrize("parts", [1, 3, MAX_PARTS])
def test_all_pairs_of_a_key_are_in_one_part_in_their_order(parts, tmp_path):
    added = [[(f"k{(n * m) % 17}", (n, b"x" * m)) for m in range(40)] for n in range(30)]
    with Spill(tmp_path, parts) as spill:
        for pairs in added:
            spill.add(iter(pairs))
        assert list(tmp_path.iterdir()) == []
        read = [list(part) for part in spill.parts()]
    assert len(read) == parts
    owners: dict[str, int] = {}
    for number, part in enumerate(read):
        assert all(owners.setdefault(key, number) == number for key, _ in part)
    for key in owners:
        expected = [value for pairs in added for name, value in pairs if name == key]
        assert [value for name, value in read[owners[key]] if name == key] == expected


def test_a_full_disk_names_the_folder(tmp_path, monkeypatch):
    class Full:
        def write(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Spill(tmp_path, 1) as spill:
        monkeypatch.setattr(spill, "_files", [Full()])
        with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}'"):
            spill.add([("a", 1)])


def test_what_is_written_by_halves_is_whole(tmp_path, monkeypatch):
    with Spill(tmp_path, 1) as spill:
        (file,) = spill._files

        class Halves:
            def write(self, data):
                return file.write(data[: max(1, len(data) // 2)])

        monkeypatch.setattr(spill, "_files", [Halves()])
        spill.add([("a", list(range(100)))])
        monkeypatch.setattr(spill, "_files", [file])
        assert [list(part) for part in spill.parts()] == [[("a", list(range(100)))]]
