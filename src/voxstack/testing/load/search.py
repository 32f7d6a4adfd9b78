"""Find how many streams can be carried: by doubling, then by halving what is left between."""

from collections.abc import Callable

__all__ = ["MOST_STREAMS", "most_streams"]

MOST_STREAMS = 1024


def most_streams(carries: Callable[[int], bool], *, most: int = MOST_STREAMS) -> int:
    """Return the greatest number of streams, up to `most`, that is carried; 0 if not even one is.

    What carries n streams is supposed to carry fewer, too.

    Example:
        >>> asked = []
        >>> most_streams(lambda streams: asked.append(streams) or streams <= 11)
        11
        >>> asked
        [1, 2, 4, 8, 16, 12, 10, 11]
    """
    low, high = 0, 1
    while carries(high):
        if high >= most:
            return most
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        if carries(middle):
            low = middle
        else:
            high = middle
    return low
