"""Give words to the signs around the digits of a Mandarin text: without them the number is another.

Sums of money, dates, times, ranges, ratios, thousands, signs of arithmetic, degrees and units in
Latin letters. Numbers that read well stay digits.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache

from voxstack.stages.text.mapped import Edit, MappedText
from voxstack.stages.text.numbers_zh import number, one_by_one

__all__ = ["rewrite_signs"]

_Edits = Callable[[re.Match[str]], Iterator[Edit]]


def _names(text: str) -> dict[str, str]:
    words = iter(text.split())
    return dict(zip(words, words, strict=True))


_CURRENCIES = _names("¥ 元 ￥ 元 $ 美元 € 欧元 £ 英镑")
_SIGNS = _names("+ 加 ＋ 加 × 乘 ÷ 除以 = 等于 ＝ 等于 ≈ 约等于 < 小于 > 大于 ≤ 小于等于 ≥ 大于等于")
_UNITS = _names(
    "℃ 摄氏度 °C 摄氏度 ℉ 华氏度 °F 华氏度 ° 度 km/h 千米每小时 m/s 米每秒 km 千米 m 米 cm 厘米 "
    "mm 毫米 ㎞ 千米 ㎝ 厘米 ㎜ 毫米 km² 平方千米 m² 平方米 ㎡ 平方米 m³ 立方米 kg 千克 ㎏ 千克 g 克 "
    "mg 毫克 t 吨 L 升 l 升 mL 毫升 ml 毫升 kWh 千瓦时 kW 千瓦 W 瓦 V 伏 Hz 赫兹 h 小时 min 分钟 s 秒 ms 毫秒"
)

_THOUSANDS = "[0-9]{1,3}(?:,[0-9]{3})+"
_AMOUNT = rf"(?:{_THOUSANDS}|[0-9]+)(?:\.[0-9]+)?"
_SIZE = "(?P<size>千万|百万|[亿万千百])?"
_DASH = "[-–—~～−]"
_ALONE = "(?<![0-9A-Za-z.,:：/~～–—−-])"  # before a number that is no part of a longer code
_WHOLE = "(?![0-9]|[.,:：/~～–—−-][0-9])"  # and behind it
_CLOCK = "(?:[01]?[0-9]|2[0-4])[:：][0-5][0-9]"
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
# Behind these, as behind a sign or at the beginning, a hyphen is a minus; elsewhere it joins.
_BEFORE_MINUS = "是为有到至达约于在温跌降升涨低高值了"


def rewrite_signs(mapped: MappedText) -> MappedText:
    """Return `mapped` with words for the signs, each knowing what it stands for.

    Example:
        >>> rewrite_signs(MappedText.of("8:30是-5℃，5-10个1,200元的，$3万")).text
        '八点三十分是负5摄氏度，5到10个一千两百元的，三万美元'
    """
    for pattern, edits in _rules():
        mapped = mapped.edited([edit for found in pattern.finditer(mapped.text) for edit in edits(found)])
    return mapped


@cache
def _rules() -> tuple[tuple[re.Pattern[str], _Edits], ...]:
    sign, year = f"(?P<sign>[{''.join(_CURRENCIES)}])", "(?P<year>(?:19|20)[0-9]{2})"
    joint, month, day = "(?P<joint>[-/.])", "(?P<month>0?[1-9]|1[0-2])", "(?P<day>[12][0-9]|3[01]|0?[1-9])"
    hour = "(?P<hour>[01]?[0-9]|2[0-4])"
    minute, second = (f"(?P<{part}>[0-5][0-9])" for part in ("minute", "second"))
    short = r"[0-9]{1,6}(?:\.[0-9]+)?"
    low, high = f"(?P<low>{short})(?P<unit>[%％]|{_UNIT})?", f"(?P<high>{short})(?P<high_unit>[%％])?"
    table: tuple[tuple[str, _Edits], ...] = (
        (f"{sign} ?(?P<low>{_AMOUNT}){_DASH}(?P=sign)?(?P<amount>{_AMOUNT}){_SIZE}{_WHOLE}", _money),
        (f"{sign} ?(?P<low>)(?P<amount>{_AMOUNT}){_SIZE}(?:美元|欧元|英镑|元)?", _money),
        (f"{_ALONE}{year}{joint}{month}(?P=joint){day}[日号]?{_WHOLE}", _date),
        (f"{_ALONE}{_CLOCK} ?(?P<sign>{_DASH}) ?(?={_CLOCK}{_WHOLE})", _to),
        (f"{_ALONE}{hour}[:：]{minute}(?:[:：]{second})?{_WHOLE}", _time),
        (f"{_ALONE}[0-9]{{1,3}}(?P<sign>[:：])(?=[0-9]{{1,3}}{_WHOLE})", _ratio),
        (f"{_ALONE}{low}(?P<sign> ?{_DASH} ?)(?={high}{_WHOLE})", _range),
        (rf"(?<![0-9,.])(?P<number>{_THOUSANDS}(?:\.[0-9]+)?)(?P<sign>[%％]?)(?![0-9])", _thousands),
        (f"(?P<number>{_AMOUNT})‰", _thousandths),
        (f"(?:(?<![\\w-])|(?<=[{_BEFORE_MINUS}])|(?=−))(?P<sign>[-−])(?=[0-9])", _minus),
        (f"(?<=[0-9]) ?(?P<sign>{_UNIT})(?![A-Za-z])", _sign),
        (f"(?<=[0-9%％]) ?(?P<sign>[{''.join(_SIGNS)}]) ?(?=[0-9负])", _sign),
    )
    return tuple((re.compile(pattern), edits) for pattern, edits in table)


def _money(found: re.Match[str]) -> Iterator[Edit]:
    amounts = [number(amount.replace(",", "")) for amount in (found["low"], found["amount"]) if amount]
    words = "到".join(amounts) + (found["size"] or "") + _CURRENCIES[found["sign"]]
    yield Edit(found.start(), found.end(), words)


def _date(found: re.Match[str]) -> Iterator[Edit]:
    month, day = (number(found[part].lstrip("0")) for part in ("month", "day"))
    yield Edit(found.start(), found.end(), f"{one_by_one(found['year'])}年{month}月{day}日")


def _time(found: re.Match[str]) -> Iterator[Edit]:
    hour, second = number(str(int(found["hour"]))), found["second"]
    minute = "" if found["minute"] == "00" and not second else f"{number(found['minute'])}分"
    words = f"{'两' if hour == '二' else hour}点{minute}" + (f"{number(second)}秒" if second else "")
    yield Edit(found.start(), found.end(), words)


def _to(found: re.Match[str]) -> Iterator[Edit]:
    yield Edit(*found.span("sign"), "到")


def _ratio(found: re.Match[str]) -> Iterator[Edit]:
    yield Edit(*found.span("sign"), "比")


def _range(found: re.Match[str]) -> Iterator[Edit]:
    low, high = found["low"], found["high"]
    is_code = any(re.match("0[0-9]", end) for end in (low, high)) or float(low) >= float(high)
    if not is_code:
        is_share = found["high_unit"] and not found["unit"]
        yield Edit(*found.span("sign"), f"{found['high_unit'] if is_share else ''}到")


def _thousands(found: re.Match[str]) -> Iterator[Edit]:
    share = "百分之" if found["sign"] else ""
    yield Edit(found.start(), found.end(), share + number(found["number"].replace(",", "")))


def _thousandths(found: re.Match[str]) -> Iterator[Edit]:
    yield Edit(found.start(), found.end(), "千分之" + number(found["number"].replace(",", "")))


def _minus(found: re.Match[str]) -> Iterator[Edit]:
    yield Edit(*found.span("sign"), "负")


def _sign(found: re.Match[str]) -> Iterator[Edit]:
    yield Edit(*found.span("sign"), {**_UNITS, **_SIGNS}[found["sign"]])
