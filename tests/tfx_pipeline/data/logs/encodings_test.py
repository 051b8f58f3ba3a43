from __future__ import annotations

import io

from hypothesis import example, given
from hypothesis import strategies as st

from tfx_pipeline.data.logs.encodings import Utf8Stream, without_stand_ins

# All but the characters that stand in for bytes.
_TEXTS = st.text(st.characters(max_codepoint=0x10FF7F, exclude_categories=()), max_size=4)
_PARTS = st.one_of(st.binary(max_size=8), _TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")))


@given(st.lists(_PARTS, max_size=6).map(b"".join), st.integers(1, 9))
@example(b"a\xf0\x9f\x98", 4)
@example("ключ 😀".encode(), 1)
def test_what_comes_out_is_utf8_in_pieces_as_asked_and_the_bytes_come_back(content: bytes, size: int) -> None:
    stream = Utf8Stream(io.BytesIO(content))
    read = list(iter(lambda: stream.read(size), b""))
    assert all(len(piece) <= size for piece in read)
    text = b"".join(read)
    text.decode("utf-8")
    assert without_stand_ins(text) == content
    assert stream.replaced == (text != content)


@given(_PARTS)
def test_as_a_whole(content: bytes) -> None:
    assert without_stand_ins(Utf8Stream(io.BytesIO(content)).read()) == content
