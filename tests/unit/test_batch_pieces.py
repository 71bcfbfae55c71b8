"""Cutting a batch's body into entries, whatever chunks it comes in."""

import json

from hypothesis import given
from hypothesis import strategies as st

from outdial.internal_api.pieces import Elements, Lines, Piece, Splitter

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def cut(splitter: Splitter, body: bytes, sizes: list[int]) -> list[Piece]:
    """Feed `body` in chunks of these sizes, over and over."""
    pieces: list[Piece] = []
    start, turn = 0, 0
    while start < len(body):
        size = sizes[turn % len(sizes)]
        pieces += splitter.feed(body[start : start + size])
        start, turn = start + size, turn + 1
    return pieces + splitter.finish()


@given(
    st.lists(values),
    st.lists(st.integers(1, 40), min_size=1),
    st.sampled_from(["", "\ufeff", " \n"]),
    st.sampled_from([None, 1]),
)
def test_an_array_is_cut_into_its_elements(
    items: list[object], sizes: list[int], prefix: str, indent: int | None
) -> None:
    """Every element comes out once and in order, in any chunks, with any space between."""
    text = prefix + json.dumps(items, ensure_ascii=False, indent=indent) + " \n"
    body = text.encode("utf-8", "surrogatepass")
    pieces = cut(Elements(), body, sizes)
    assert [piece.line for piece in pieces] == list(range(1, len(items) + 1))
    assert [json.loads(piece.body.decode("utf-8", "surrogatepass")) for piece in pieces] == items


@given(
    st.lists(values),
    st.lists(st.integers(1, 40), min_size=1),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
    st.sampled_from(["", "\n"]),
)
def test_lines_are_cut_at_their_ends(
    items: list[object], sizes: list[int], end: str, last: str
) -> None:
    """Every line comes out once, under its number, with or without a last end."""
    text = end.join(json.dumps(item) for item in items) + last
    pieces = cut(Lines(), text.encode(), sizes)
    step = end.count("\n")
    assert [piece.line for piece in pieces] == [1 + step * n for n in range(len(items))]
    assert [json.loads(piece.body) for piece in pieces] == items


@given(st.binary(), st.lists(st.integers(1, 40), min_size=1))
def test_chunks_make_no_difference(body: bytes, sizes: list[int]) -> None:
    """Any bytes after an opening bracket are cut the same in one chunk as in many."""
    body = b"[" + body
    assert cut(Elements(), body, sizes) == cut(Elements(), body, [len(body)])


def test_a_missing_element_is_a_problem() -> None:
    """Two commas, or a trailing one, leave an entry that is nothing."""
    for body, at in ((b"[1,,2]", 2), (b"[1,]", 2), (b"[,1]", 1)):
        pieces = cut(Elements(), body, [100])
        assert [piece.line for piece in pieces if piece.problem] == [at]
