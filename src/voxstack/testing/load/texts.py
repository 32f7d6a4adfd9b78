"""Hold the texts that are spoken under load: short and long, mixed."""

from pathlib import Path

from voxstack.core.errors import RequestError

__all__ = ["ENGLISH", "read_texts"]

ENGLISH = (
    "The train has left.",
    (
        "When the rain stopped at last, the children ran down to the river and built a dam of stones and "
        "branches, which held until the evening."
    ),
    "Please close the window before you go.",
    (
        "Your parcel is on its way. It should arrive on Thursday morning between nine and eleven, and the "
        "driver will ring twice. If nobody is at home, it will be left with your neighbour on the second "
        "floor. You may also collect it from the shop at the corner, which is open every day until eight in "
        "the evening, except on public holidays."
    ),
    "Yes, that is right.",
    "The museum is open from Tuesday to Sunday, and on the first day of the month nobody has to pay.",
    (
        "I have found three flights to Lisbon for you. The cheapest one leaves at six in the morning, which "
        "means that you would have to get up very early, while the second one leaves at noon."
    ),
    "Turn left at the church and follow the road down the hill.",
    (
        "He had worked in the old library for almost thirty years, and in all that time he had never once "
        "seen anybody open the green door at the end of the long corridor behind the reading room, although "
        "everybody knew that it was there."
    ),
    "Good evening. How can I help you today?",
)
"""From 4 to 60 words, short and long by turns."""


def read_texts(path: Path) -> tuple[str, ...]:
    """Return the texts of a file, one a line; raise RequestError if there are none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise RequestError(f"is not UTF-8 text: {error}", where=str(path)) from error
    texts = tuple(line.strip() for line in lines if line.strip())
    if not texts:
        raise RequestError("holds no text, want one a line", where=str(path))
    return texts
