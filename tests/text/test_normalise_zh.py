"""Numbers, dates, sums of money and telephone numbers become Mandarin words that know what they stand for."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.stages.text.mapped import MappedText
from voxstack.stages.text.normalise import Normaliser
from voxstack.stages.text.numbers_zh import number, one_by_one

pytestmark = pytest.mark.unit

SPOILED: dict[str, str] = json.loads((Path(__file__).parent / "baker_ids.json").read_text(encoding="utf-8"))[
    "spoiled"
]


def spoken(text: str) -> str:
    return Normaliser("zh").normalise(MappedText.of(text)).text


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("0", "零"),
        ("2", "二"),
        ("10", "十"),
        ("12", "十二"),
        ("22", "二十二"),
        ("110", "一百一十"),
        ("222", "两百二十二"),
        ("1001", "一千零一"),
        ("10010", "一万零一十"),
        ("10200", "一万零二百"),
        ("22000", "两万两千"),
        ("100100", "十万零一百"),
        ("220000", "二十二万"),
        ("200000000", "两亿"),
        ("1020030004", "十亿两千零三万零四"),
        ("1" + "0" * 12, "一兆"),
        ("0.50", "零点五零"),
        ("12.05", "十二点零五"),
        ("007", "零七"),
        ("00", "零零"),
    ],
)
def test_a_number_in_words(written: str, wanted: str) -> None:
    assert number(written) == wanted


def test_a_code_is_read_digit_by_digit() -> None:
    assert one_by_one("20210") == "二零二一零"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2024年5月1日", "二零二四年五月一日"),
        ("1800年", "一千八百年"),
        ("98年", "九八年"),
        ("有2938个", "有两千九百三十八个"),
        ("房间2938", "房间二九三八"),
        ("5000多元", "五千多元"),
        ("12345678万", "一千两百三十四万五千六百七十八万"),
        ("12345678个", "一二三四五六七八个"),
        ("打010-62345678吧", "打零一零六二三四五六七八吧"),
        ("打+86 13800138000吧", "打八六一三八零零一三八零零零吧"),
        ("62.5%", "百分之六十二点五"),
        ("3/4", "四分之三"),
        ("O2O和B2C，A2", "O2O和B2C，A二"),
        ("٣个１２", "三个十二"),
        ("３．５％和９／１０", "百分之三点五和十分之九"),
        ("第Ⅳ章①②", "第四章一二"),
        ("½杯，3½个，十½", "二分之一杯，三又二分之一个，十又二分之一"),
        ("⒓㉑㈠", "十二二十一一"),
        ("没有数字", "没有数字"),
    ],
)
def test_written_forms(text: str, wanted: str) -> None:
    assert spoken(text) == wanted


WORDS = {
    "会议8:30开始。": "会议八点三十分开始。",
    "商店9:00-17:30营业。": "商店九点到十七点三十分营业。",
    "飞机08:05起飞。": "飞机八点零五分起飞。",
    "现在是8：00。": "现在是八点。",
    "今天气温是-5℃。": "今天气温是负五摄氏度。",
    "水烧到100°C就开了。": "水烧到一百摄氏度就开了。",
    "苹果每斤¥5.5。": "苹果每斤五点五元。",
    "这台电脑卖$1,299。": "这台电脑卖一千两百九十九美元。",
    "他赚了￥3万。": "他赚了三万元。",
    "门票€5-10一张。": "门票五到十欧元一张。",
    "这里有1,000个座位。": "这里有一千个座位。",
    "一共来了1,234,567人。": "一共来了一百二十三万四千五百六十七人。",
    "一次吃5-10颗。": "一次吃五到十颗。",
    "大约3~5天能到。": "大约三到五天能到。",
    "增长了5%-10%。": "增长了百分之五到百分之十。",
    "增长了5-10%。": "增长了百分之五到百分之十。",
    "日期是2024-05-01。": "日期是二零二四年五月一日。",
    "日期是2024/5/1。": "日期是二零二四年五月一日。",
    "从2019-2020年算起。": "从二零一九到二零二零年算起。",
    "我们以3:2赢了。": "我们以三比二赢了。",
    "盐度是35‰。": "盐度是千分之三十五。",
    "他每天跑5km。": "他每天跑五千米。",
    "限速120km/h。": "限速一百二十千米每小时。",
    "这只猫重3kg。": "这只猫重三千克。",
    "房间有20m²。": "房间有二十平方米。",
    "他重2983.07克。": "他重两千九百八十三点零七克。",
    "全长12345.60米。": "全长一万两千三百四十五点六零米。",
    "圆周率是3.14159。": "圆周率是三点一四一五九。",
    "12楼有2个人。": "十二楼有二个人。",
    "这是00后的想法。": "这是零零后的想法。",
    "电话是025-83651234。": "电话是零二五八三六五一二三四。",
    "一共１０个。": "一共十个。",
    "1+1=2。": "一加一等于二。",
    "他有五百元，我有-3元。": "他有五百元，我有负三元。",
}


@pytest.mark.parametrize("text", SPOILED)
def test_numbers_that_the_voices_own_normaliser_spoils(text: str) -> None:
    assert spoken(text) == WORDS[text] != SPOILED[text]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("京-5号", "京-五号"),
        ("-5度，(-3)，−2", "负五度，(负三)，负二"),
        ("ISO-8601", "ISO-八六零一"),
        ("3-1", "三-一"),
        ("01-05", "零一-零五"),
        ("400-800-1234", "四百-八百-一二三四"),
        ("192.168.1.1", "一百九十二点一六八.一点一"),
        ("iPhone12", "iPhone十二"),
        ("5meters", "五meters"),
        ("12:60:70", "十二:六十:七十"),
        ("13:05:09", "十三点零五分零九秒"),
        ("2:30", "两点三十分"),
        ("20°C-25°C", "二十摄氏度到二十五摄氏度"),
        ("1,000.5%", "百分之一千点五"),
        ("¥5亿元", "五亿元"),
        ("2024-13-01", "二零二四-十三-零一"),
    ],
)
def test_signs_are_words_only_where_they_mean_something(text: str, wanted: str) -> None:
    assert spoken(text) == wanted


def test_words_know_what_they_stand_for() -> None:
    mapped = Normaliser("zh").normalise(MappedText.of("有3,500个和2024，8:30", 10))
    owners = [
        (mapped.text[place], start - 10, stop - 10)
        for place, (start, stop) in enumerate(zip(mapped.starts.tolist(), mapped.stops.tolist(), strict=True))
    ]
    assert owners[:6] == [("有", 0, 1), *[(char, 1, 6) for char in "三千五百"], ("个", 6, 7)]
    assert owners[7:12] == [("二", 8, 9), ("零", 9, 10), ("二", 10, 11), ("四", 11, 12), ("，", 12, 13)]
    assert owners[12:] == [(char, 13, 17) for char in "八点三十分"]


WRITTEN = """5 12 007 2024 13800138000 010-62345678 3.5 1,000 8:30 2024-05-01 2024/5/1 5-10 3/4 50% ¥5
$1,299.5 -5℃ 5km 年 月 日 个 万 元 点 多 几 到 ， 。 - – ~ : ： / . , % ‰ ℃ + = < ² Ⅳ ① ½
３．５ １２ ٣ OK B 人"""
FORMS = st.sampled_from(WRITTEN.split())
TEXTS = st.lists(st.tuples(FORMS, st.sampled_from(["", "", " "])), max_size=12).map(
    lambda parts: "".join(form + space for form, space in parts)
)


@given(TEXTS, st.integers(0, 1000))
def test_no_group_of_digits_vanishes(text: str, start: int) -> None:
    mapped = Normaliser("zh").normalise(MappedText.of(text, start))
    assert len(mapped.text) == len(mapped.starts) == len(mapped.stops)
    assert (np.diff(mapped.starts) >= 0).all()
    assert (np.diff(mapped.stops) >= 0).all()
    words = np.array([char in "零一二三四五六七八九十百千万亿两2" for char in mapped.text], dtype=bool)
    for group in re.finditer(r"\d+", text):
        over = (mapped.starts < start + group.end()) & (mapped.stops > start + group.start())
        assert (over & words).any(), (mapped.text, group)
    assert not re.search(r"(?<![A-Za-z])\d|\d(?![A-Za-z])", mapped.text)
