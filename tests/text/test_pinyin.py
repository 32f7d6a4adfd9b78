"""Mandarin becomes the ids that its nets were trained on, and each knows which character it voices."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxstack.core.errors import ConfigError, RequestError
from voxstack.core.events import Event, listening
from voxstack.core.text import FrontEnd, Phonemes, Sentence
from voxstack.stack.front import build_front_end
from voxstack.stages.phonemes import pinyin
from voxstack.stages.phonemes.pinyin import PinyinPhonemizer, Spelling

pytestmark = pytest.mark.unit

BAKER: dict[str, Any] = json.loads((Path(__file__).parent / "baker_ids.json").read_text(encoding="utf-8"))
TEXT: dict[str, Any] = BAKER["text"]
SPELLING = Spelling(
    TEXT["zero_initial"],
    TEXT["apical_vowels"],
    {plain: tuple(symbols) for plain, symbols in TEXT["syllables"].items()},
)
FRAME = {"sil", "eos", "#0"}


@pytest.fixture
def front() -> FrontEnd:
    return mandarin()


def mandarin(**options: Any) -> FrontEnd:
    pytest.importorskip("pypinyin", reason="the extra 'mandarin' is not installed")
    return build_front_end({**TEXT, **options})


def sentences(front: FrontEnd, *pieces: str) -> list[Sentence]:
    splitter = front.splitter()
    return [*(sentence for piece in pieces for sentence in splitter.feed(piece)), *splitter.finish()]


def voiced(front: FrontEnd, *pieces: str) -> list[Phonemes]:
    return [phonemes for sentence in sentences(front, *pieces) for phonemes in front.phonemize(sentence)]


def symbols(front: FrontEnd, text: str) -> str:
    [phonemes] = front.phonemize(Sentence(text))
    return " ".join(phonemes.symbols)


@pytest.mark.parametrize("sentence", BAKER["sentences"])
def test_ids_are_those_of_the_voices_own_processor(front: FrontEnd, sentence: str) -> None:
    [phonemes] = front.phonemize(Sentence(sentence))
    assert " ".join(map(str, phonemes.ids)) == BAKER["sentences"][sentence], phonemes.symbols


def test_the_rules_spell_every_syllable_of_the_voice() -> None:
    assert {plain: " ".join(SPELLING.symbols(plain + "3")) for plain in BAKER["syllables"]} == {
        plain: written + "3" for plain, written in BAKER["syllables"].items()
    }


@pytest.mark.parametrize("written", ["-", "a", "m2", "hm5", "ê1", "ma", "ma6", "啊"])
def test_what_is_no_syllable_of_the_voice_has_no_symbols_with_ids(written: str) -> None:
    assert not SPELLING.symbols(written) or not set(SPELLING.symbols(written)) <= set(TEXT["phoneme_ids"])


def test_without_options_a_syllable_is_spelled_plainly() -> None:
    assert [Spelling().symbols(syllable) for syllable in ("ai4", "shi4", "yue4", "wei2", "nve4")] == [
        ("ai4",),
        ("sh", "i4"),
        ("ve4",),
        ("uei2",),
        ("n", "ve4"),
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("行长去银行", "h ang2 #0 zh ang3 #0 q v4 #0 ^ in2 #0 h ang2"),
        ("重庆", "ch ong2 #0 q ing4"),
        ("桌子", "zh uo1 #0 z ii5"),
        ("花儿", "h ua1 #0 ^ er2"),
        ("覅", "f iao4"),
        ("二〇", "^ er4 #0 l ing2"),
        ("我用iPhone打", "^ uo3 #0 ^ iong4 #0 d a3"),
        ("我，《打》", "^ uo3 #0 d a3"),
        ("兙打呣", "d a3"),
    ],
)
def test_characters_are_read_in_their_words_and_others_are_skipped(
    front: FrontEnd, text: str, wanted: str
) -> None:
    assert symbols(front, text) == f"sil {wanted} sil eos"


def test_each_symbol_knows_its_character(front: FrontEnd) -> None:
    text = "\N{GRINNING FACE}好，第12 <b>个</b>OK。"
    [phonemes] = front.phonemize(Sentence(text, start=100))
    found = [
        (symbol, text[start - 100 : stop - 100])
        for symbol, (start, stop) in zip(phonemes.symbols, phonemes.spans.tolist(), strict=True)
    ]
    assert found == [
        ("sil", ""),
        *[("h", "好"), ("ao3", "好"), ("#0", "，")],
        *[("d", "第"), ("i4", "第"), ("#0", "")],
        *[("sh", "12"), ("iii2", "12"), ("#0", ""), ("^", "12"), ("er4", "12"), ("#0", " ")],
        *[("g", "个"), ("e4", "个")],
        *[("sil", ""), ("eos", "")],
    ]


def test_a_character_may_ask_for_a_pause() -> None:
    front = mandarin(pauses={"，": "#3", "、": "#1"})
    assert symbols(front, "你，” 我、他 她。") == "sil n i3 #3 ^ uo3 #1 t a1 #0 t a1 sil eos"


def test_tones_change_beside_others_only_if_asked(front: FrontEnd) -> None:
    assert symbols(front, "你好") == "sil n i3 #0 h ao3 sil eos"
    assert symbols(mandarin(tone_sandhi=True), "你好") == "sil n i2 #0 h ao3 sil eos"


def test_a_voice_without_frame_or_separator_gets_the_bare_sounds() -> None:
    bare: dict[str, Any] = {"start": [], "end": [], "separator": None, "zero_initial": None}
    assert symbols(mandarin(**bare), "我们") == "uo3 m en5"


def test_clauses_are_spoken_one_by_one(front: FrontEnd) -> None:
    found = sentences(front, "他大声地说道：“你们大家都好，” 然后他们走了。再见")
    assert [(sentence.text, sentence.pause_ms) for sentence in found] == [
        ("他大声地说道：", 200),
        ("“你们大家都好，”", 200),
        ("然后他们走了。", 120),
        ("再见", 0),
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("一、二、三、四", ["一、二、三、四"]),
        ("一、二、三、四、五、六、七、八、九、十", ["一、二、三、四、五、六、七、八、九、十"]),
        ("你好，我们今天去公园，好吗？好。", ["你好，我们今天去公园，好吗？", "好。"]),
        ("你好，我们今天去公园，大家一起去吧，好\n吗", ["你好，我们今天去公园，", "大家一起去吧，好", "吗"]),
        ("好" * 57 + "，好。", ["好" * 57 + "，好。"]),
        ("好" * 58 + "，好的。", ["好" * 58 + "，", "好的。"]),
    ],
)
def test_short_clauses_are_joined(front: FrontEnd, text: str, wanted: list[str]) -> None:
    assert [sentence.text for sentence in sentences(front, text)] == wanted


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("现在已经是8：30了我们走吧", 1),
        ("一共有了1，000000个", 1),
        ("2024年3、4月份我们再去", 1),
        ("2024年3、四月份我们再去", 2),
        ("2024年三、4月份我们再去", 2),
        ("1。，2", 2),
    ],
)
def test_a_clause_does_not_end_between_digits(front: FrontEnd, text: str, count: int) -> None:
    assert len(sentences(front, text)) == count


def test_a_digit_of_the_sentence_before_does_not_join_a_clause(front: FrontEnd) -> None:
    assert [sentence.text for sentence in sentences(front, "1" * 60 + "，2345678")] == [
        "1" * 60,
        "，2345678",
    ]


CHINESE = st.lists(
    st.sampled_from([*"你好我行长，。、：；！？…“”（）\n 1２年5%-¥", "12", "OK ", "<b>", "😀", "　", "㐂"]),
    max_size=80,
).map("".join)


@given(CHINESE, st.lists(st.integers(1, 30), min_size=1))
def test_clauses_do_not_depend_on_the_pieces(text: str, sizes: list[int]) -> None:
    front = mandarin()

    def split(*pieces: str) -> list[Sentence] | str:
        try:
            return sentences(front, *pieces)
        except RequestError as error:
            return str(error)

    assert split(*text) == split(*cut(text, sizes)) == split(text)


def cut(text: str, sizes: list[int]) -> Iterator[str]:
    start = place = 0
    while start < len(text):
        size = sizes[place % len(sizes)]
        yield text[start : start + size]
        start, place = start + size, place + 1


@given(CHINESE | st.text(max_size=100))
def test_any_text_is_spoken_at_exact_offsets_or_refused(text: str) -> None:
    front = mandarin()
    found: list[Phonemes] = []
    refusal = "text: nothing to speak: "
    try:
        found = voiced(front, text)
    except RequestError as error:
        refusal = str(error)
    assert refusal.startswith("text: nothing to speak: ")
    done = 0
    for phonemes in found:
        assert len(phonemes.ids) == len(phonemes.symbols) == len(phonemes.spans)
        for symbol, (start, stop) in zip(phonemes.symbols, phonemes.spans.tolist(), strict=True):
            assert done <= start <= stop <= len(text)
            assert symbol in FRAME or any(
                char.isalnum() or char in "%％‰℃°¥￥$€£+＋×÷=＝≈<>≤≥-−~～–—:：" for char in text[start:stop]
            )
            done = start if symbol not in FRAME else done


def test_a_long_text_streams_in_short_utterances(front: FrontEnd) -> None:
    text = "我们今天去公园，看见了很多花和2只鸟。" * 250 + "好" * 5000
    splitter = front.splitter()
    spoken = waiting = 0
    for place in range(0, len(text), 7):
        for sentence in splitter.feed(text[place : place + 7]):
            [phonemes] = front.phonemize(sentence)
            assert len(phonemes.ids) <= 3 * 60 + 3
            assert sentence.start == spoken
            spoken += len(sentence.text)
        waiting = max(waiting, min(place + 7, len(text)) - spoken)
    assert spoken + sum(len(sentence.text) for sentence in splitter.finish()) == len(text)
    assert waiting <= 60 + 64 + 7


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "text: nothing to speak: got an empty text; send at least one letter or number"),
        ("，。！", "text: nothing to speak: got only '，。！'; send at least one letter or number"),
        (
            "Hello. How are you?",
            "text: nothing to speak: this voice has no sounds for 'Hello.'; write it in Chinese characters",
        ),
        ("O2O", "text: nothing to speak: this voice has no sounds for 'O2O'; write it in Chinese characters"),
        ("兙", "text: nothing to speak: this voice has no sounds for '兙'; write it in Chinese characters"),
    ],
)
def test_a_text_without_chinese_is_refused(front: FrontEnd, text: str, wanted: str) -> None:
    with pytest.raises(RequestError) as caught:
        voiced(front, text)
    assert str(caught.value) == wanted


def test_a_foreign_sentence_between_others_is_skipped(front: FrontEnd) -> None:
    found = sentences(front, "好。OK. Yes！再见。12。")
    assert [sentence.text for sentence in found] == ["好。", "再见。", "12。"]


@pytest.mark.parametrize("rare", ["噷", "兙", "O2O", "㐂"])
def test_a_sentence_without_sounds_between_others_is_skipped(front: FrontEnd, rare: str) -> None:
    text = f"你好。{rare}。再见。"
    assert [sentence.text for sentence in sentences(front, text)] == ["你好。", "再见。"]
    assert len(voiced(front, text)) == 2


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("我说 Hello, world！好。", [("Hello, world", 3, 15)]),
        ("你好。Bye now. 再见。", [("Bye now.", 3, 11)]),
        ("😀我有12 <b>个</b>OK。好兙。", [("OK", 14, 16), ("兙", 18, 19)]),
        ("A我B", [("A", 0, 1), ("B", 2, 3)]),
        ("我 &amp; 你", [("&amp;", 2, 7)]),
        ("他说：“你好！” ……（100%）。", []),
    ],
)
def test_what_has_no_sounds_is_noticed(
    front: FrontEnd, text: str, wanted: list[tuple[str, int, int]]
) -> None:
    events: list[Event] = []
    with listening(events.append):
        voiced(front, text)
    assert events == [
        Event(
            "text.skipped",
            "text",
            0,
            f"no sounds for '{skipped}'; skipped",
            {"skipped": skipped, "span": [start, stop]},
        )
        for skipped, start, stop in wanted
    ]


def test_digits_are_spoken_only_if_normalised() -> None:
    front = mandarin(normalise=None)
    assert [sentence.text for sentence in sentences(front, "好。12。再见。")] == ["好。", "再见。"]
    with pytest.raises(RequestError, match=r"no sounds for '12'"):
        voiced(front, "12")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"separator": "|"}, "$.text.separator: '|' has no ids in phoneme_ids; add it or leave it out"),
        ({"end": ["sil", "end"]}, "$.text.end[1]: 'end' has no ids in phoneme_ids; add it or leave it out"),
        (
            {"pauses": {"，": "#9"}},
            "$.text.pauses.，: '#9' has no ids in phoneme_ids; add it or leave it out",
        ),
        ({"speling": {}}, "$.text.speling: unknown key 'speling'"),
    ],
)
def test_mistakes_in_the_config_are_named_with_their_path(options: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_front_end({**TEXT, **options})
    assert str(caught.value).startswith(wanted)


def test_without_the_package_a_voice_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypinyin", None)
    pinyin._pinyin.cache_clear()
    with pytest.raises(ConfigError) as caught:
        PinyinPhonemizer({"a": (1,)}).phonemize("啊")
    assert str(caught.value) == (
        "$.text.type: the addon asks for pinyin, which needs the package pypinyin; "
        "install it with: pip install 'voxstack[mandarin]'"
    )
