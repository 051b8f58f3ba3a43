"""Text that a caller gives: checked where it enters, shown in messages."""

from __future__ import annotations

from typing import Any

from serving.client.errors import BadRequest


def is_text(text: str) -> bool:
    """Whether UTF-8 can carry the text; half of a surrogate pair it cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_text(field: str, text: str, what: str | None = None) -> str:
    """The text, when it is one.

    Args:
        field: for `BadRequest.field`.
        text: what was given.
        what: the words for it in the message; None for the field.

    Raises:
        BadRequest: it has half of a surrogate pair, as a string has that was cut in the middle of a character.
    """
    if not is_text(text):
        raise BadRequest.of(
            field,
            f"{what or field} is no text: {shown(text)} has half of a surrogate pair, as after a cut in the middle of "
            "a character; give whole characters",
        )
    return text


def shown(value: Any) -> str:
    """The beginning of a value's representation, for a message."""
    try:
        return f"{value!r:.60}"
    except ValueError:  # Python writes no integer of more than some thousand digits
        return "too long to show"
