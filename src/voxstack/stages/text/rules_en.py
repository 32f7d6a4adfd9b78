"""Rewrite the written forms of English that a general normaliser misreads, before it sees them.

Numbers it reads well stay digits: `$5-10` becomes `5 to 10 dollars`. The rules run in order.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache

from voxstack.stages.text.mapped import Edit, MappedText

__all__ = ["rewrite_english"]

_Words = Callable[[re.Match[str]], str]
_ONES = "zero one two three four five six seven eight nine"
_TENS = "noughties tens twenties thirties forties fifties sixties seventies eighties nineties"
_DIGITS, _DECADES = (dict(enumerate(words.split())) for words in (_ONES, _TENS))
_SIZES = {"k": "thousand", "m": "million", "b": "billion", "t": "trillion"}
_CURRENCIES = {"$": "dollars", "£": "pounds", "€": "euros"}

_NUMBER = "[0-9]+(?:,[0-9]{3})*(?:[.][0-9]+)?"
_SIZE = "(?:[kK]|[mMbBtT]n?| (?:thousand|million|billion|trillion))\\b"
_MONEY = "(?<!\\w)(?:US)?(?P<money>[$£€])"
_DAY = "(?:3[01]|[12][0-9]|[1-9])"
_CLOCK = "[0-9]{1,2}(?::[0-9]{2})?"
_NOON = " ?[aApP][.]?[mM]\\b[.]?"
_MONTH = (
    "(?P<month>January|February|March|April|May|June|July|August|September|October|November|December"
    "|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\\b[.]?)(?!\\w)"
)
_ALONE = "(?<![\\w.,:/–-])"  # before a number that is not part of a longer code, date or word
_WHOLE = "(?![\\w/]|[.,:–-][0-9])"  # and behind it


def rewrite_english(mapped: MappedText) -> MappedText:
    """Return `mapped` with the forms of the table rewritten, each knowing what it stands for.

    Example:
        >>> rewrite_english(MappedText.of("He is 5'10, paid $3bn, and works 24/7.")).text
        'He is 5 foot 10, paid 3 billion dollars, and works twenty-four seven.'
    """
    if any(char.isdigit() for char in mapped.text):
        for pattern, words in _rules():
            mapped = mapped.edited(_edits(mapped.text, pattern, words))
    return mapped


def _edits(text: str, pattern: re.Pattern[str], words: _Words) -> Iterator[Edit]:
    for found in pattern.finditer(text):
        if (written := words(found)) != found.group():
            yield Edit(found.start(), found.end(), written)


@cache
def _rules() -> tuple[tuple[re.Pattern[str], _Words], ...]:
    lows, highs = f"(?P<low>{_NUMBER})", f"(?P<high>{_NUMBER})"
    decade = "['’]?(?P<decade>[0-9])0s\\b"
    days = f"(?P<low>{_DAY})[-–](?P<high>{_DAY})"
    table: tuple[tuple[str, _Words], ...] = (
        (f"{_ALONE}24/7(?P<year>/365)?{_WHOLE}", _always),
        # 5'10", 6'2, 6' tall
        (
            f"{_ALONE}(?P<feet>[0-9]{{1,2}})['’′] ?(?P<inches>1[01]|[0-9])(?:[\"”″]|''|’’|′′)?(?![\\w'’])",
            _feet,
        ),
        (f"{_ALONE}(?P<feet>[0-9]{{1,3}})['’′] ?(?P<inches>)(?=(?:tall|long|wide|high|deep)\\b)", _feet),
        # $5-10, $1.5-2m, £1bn-£2bn, then £5m, $3bn, $5k, and 3bn
        (
            f"{_MONEY}{lows}(?P<low_size>{_SIZE})?[-–](?P=money)?{highs}(?P<size>{_SIZE})?{_WHOLE}",
            _money_range,
        ),
        (f"{_MONEY}{highs}(?P<size>{_SIZE}){_WHOLE}", _money),
        (f"{_ALONE}{highs}(?P<size>[mbt]n)\\b", _large),
        # the 90s, her 40s, the 80s and 90s, '90s
        (f"(?P<before>\\b(?:the|early|mid|late|his|her|their|my|your|our)[ -]){decade}", _decade),
        (f"(?P<before>(?:ties|tens) (?:and|or|to) ){decade}", _decade),
        (f"(?P<before>(?<!\\w))(?=['’]){decade}", _decade),
        # 5-10 May, May 5-10
        (f"{_ALONE}{days} {_MONTH}", _days_of_month),
        (f"\\b{_MONTH} {days}{_WHOLE}", _month_and_days),
        # 8am-5pm, 9-5pm, 9:00-17:00
        (f"(?<=[0-9])(?P<low>{_NOON})[-–](?={_CLOCK}(?:{_NOON})?(?!\\w))", _to),
        (f"{_ALONE}(?P<low>{_CLOCK})[-–](?={_CLOCK}{_NOON}(?!\\w))", _to),
        (f"{_ALONE}(?P<low>[0-9]{{1,2}}:[0-9]{{2}})[-–](?=[0-9]{{1,2}}:[0-9]{{2}}{_WHOLE})", _to),
        # 5-10 km, 5-10%, 20°C-25°C, 1st-2nd
        (f"{_ALONE}{lows}(?P<unit>%|°[CF]?|st|nd|rd|th)?[-–]{highs}(?![/0-9]|[.,:–-][0-9])", _range),
        # 007
        (f"{_ALONE}(?P<code>0[0-9]+)(?![\\w/]|[.,:–-][0-9]| [0-9]| {_MONTH})", _one_by_one),
    )
    return tuple((re.compile(pattern), words) for pattern, words in table)


def _always(found: re.Match[str]) -> str:
    return "twenty-four seven three sixty-five" if found["year"] else "twenty-four seven"


def _feet(found: re.Match[str]) -> str:
    return f"{found['feet']} foot {found['inches']}"


def _large(found: re.Match[str]) -> str:
    return found["high"] + _size(found["size"])


def _money(found: re.Match[str]) -> str:
    return f"{_large(found)} {_CURRENCIES[found['money']]}"


def _money_range(found: re.Match[str]) -> str:
    return f"{found['low']}{_size(found['low_size'])} to {_large(found)} {_CURRENCIES[found['money']]}"


def _size(written: str | None) -> str:
    return f" {_SIZES[written.strip()[0].lower()]}" if written else ""


def _decade(found: re.Match[str]) -> str:
    return found["before"] + _DECADES[int(found["decade"])]


def _days_of_month(found: re.Match[str]) -> str:
    return f"the {_ordinal(found['low'])} to the {_ordinal(found['high'])} of {found['month']}"


def _month_and_days(found: re.Match[str]) -> str:
    return f"{found['month']} {_ordinal(found['low'])} to {_ordinal(found['high'])}"


def _ordinal(day: str) -> str:
    return day + (
        "th" if len(day) == 2 and day[0] == "1" else {"1": "st", "2": "nd", "3": "rd"}.get(day[-1], "th")
    )


def _to(found: re.Match[str]) -> str:
    return f"{found['low']} to "


def _range(found: re.Match[str]) -> str:
    low, high = found["low"].replace(",", ""), found["high"].replace(",", "")
    is_phone_or_years = len(high) == 4 and len(low) in (3, 4)  # left to the normaliser
    is_short_year = len(low) == 4 and len(high) == 2
    is_code = re.match("0[0-9]", low) or re.match("0[0-9]", high)
    if is_phone_or_years or is_code or not (float(low) < float(high) or is_short_year):
        return found.group()
    return f"{found['low']}{found['unit'] or ''} to {found['high']}"


def _one_by_one(found: re.Match[str]) -> str:
    return " ".join(_DIGITS[int(digit)] for digit in found["code"])
