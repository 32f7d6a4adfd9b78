"""Say Arabic digits in Mandarin: as one number, or digit by digit."""

import re

__all__ = ["number", "one_by_one"]

_DIGITS = str.maketrans("0123456789.", "零一二三四五六七八九点")
# The name of every power of ten that has one: 十 is ten, 万 ten thousand, 亿 a hundred million …
_UNITS = dict(zip((1, 2, 3, 4, *range(8, 48, 4)), "十百千万亿兆京垓秭穰沟涧正载", strict=True))
# Two of a hundred and more is 两, but not behind a ten (二十二万) or a skipped place (一万零二百).
_TWO = re.compile(f"(?<![零一二三四五六七八九十点])二(?=[{''.join(_UNITS.values())[1:]}])")


def one_by_one(digits: str) -> str:
    """Return every digit's name in turn.

    Example:
        >>> one_by_one("2049")
        '二零四九'
    """
    return digits.translate(_DIGITS)


def number(written: str) -> str:
    """Return a number in words; zeros that lead it are said once, so 07 is not 7.

    In:       written  digits, with at most one point among them
    Example:
        >>> number("20406"), number("10.50"), number("07")
        ('两万零四百零六', '十点五零', '零七')
    """
    whole, _, decimals = written.partition(".")
    words = one_by_one(whole) if len(whole) == 1 or not whole.strip("0") else _TWO.sub("两", _whole(whole))
    if words.startswith("一十"):
        words = words[1:]
    return words + (f"点{one_by_one(decimals)}" if decimals else "")


def _whole(digits: str) -> str:
    """Say what stands before the largest unit, the unit, and what stands behind it."""
    counted = digits.lstrip("0")
    skipped = "零" if counted and len(counted) < len(digits) else ""
    if len(counted) < 2:
        return skipped + one_by_one(counted)
    power = max(power for power in _UNITS if power < len(counted))
    return skipped + _whole(counted[:-power]) + _UNITS[power] + _whole(counted[-power:])
