"""English IPA comes out in ARPAbet as CMUdict spells it, every vowel with its stress."""

import pytest

from voxstack.stages.phonemes.arpabet import SYMBOLS, arpabet

pytestmark = pytest.mark.unit

WORDS = """
hello həlˈoʊ HH AH0 L OW1
world wˈɜːld W ER1 L D
cat kˈæt K AE1 T
water wˈɔːɾɚ W AO1 T ER0
mother mˈʌðɚ M AH1 DH ER0
father fˈɑːðɚ F AA1 DH ER0
people pˈiːpəl P IY1 P AH0 L
house hˈaʊs HH AW1 S
boy bˈɔɪ B OY1
girl ɡˈɜːl G ER1 L
book bˈʊk B UH1 K
food fˈuːd F UW1 D
school skˈuːl S K UW1 L
teacher tˈiːtʃɚ T IY1 CH ER0
judge dʒˈʌdʒ JH AH1 JH
vision vˈɪʒən V IH1 ZH AH0 N
think θˈɪŋk TH IH1 NG K
this ðˈɪs DH IH1 S
yellow jˈɛloʊ Y EH1 L OW0
measure mˈɛʒɚ M EH1 ZH ER0
church tʃˈɜːtʃ CH ER1 CH
fire fˈaɪɚ F AY1 ER0
hour ˈaʊɚ AW1 ER0
city sˈɪɾi S IH1 T IY0
happy hˈæpi HH AE1 P IY0
little lˈɪɾəl L IH1 T AH0 L
button bˈʌʔn̩ B AH1 T AH0 N
computer kəmpjˈuːɾɚ K AH0 M P Y UW1 T ER0
music mjˈuːzɪk M Y UW1 Z IH0 K
about ɐbˈaʊt AH0 B AW1 T
again ɐɡˈɛn AH0 G EH1 N
before bᵻfˈɔːɹ B IH0 F AO1 R
car kˈɑːɹ K AA1 R
near nˈɪɹ N IH1 R
care kˈɛɹ K EH1 R
bird bˈɜːd B ER1 D
early ˈɜːli ER1 L IY0
hand hˈænd HH AE1 N D
bread bɹˈɛd B R EH1 D
time tˈaɪm T AY1 M
name nˈeɪm N EY1 M
home hˈoʊm HH OW1 M
year jˈɪɹ Y IH1 R
money mˈʌni M AH1 N IY0
woman wˈʊmən W UH1 M AH0 N
children tʃˈɪldɹən CH IH1 L D R AH0 N
question kwˈɛstʃən K W EH1 S CH AH0 N
nation nˈeɪʃən N EY1 SH AH0 N
information ˌɪnfɚmˈeɪʃən IH2 N F ER0 M EY1 SH AH0 N
photograph fˈoʊɾəɡɹˌæf F OW1 T AH0 G R AE2 F
understand ˌʌndɚstˈænd AH2 N D ER0 S T AE1 N D
english ˈɪŋɡlɪʃ IH1 NG G L IH0 SH
story stˈɔːɹi S T AO1 R IY0
hurry hˈɜːɹi HH ER1 IY0
maria mɚɹˈiːʲə M ER0 IY1 AH0
royal ɹˈɔɪəl R OY1 AH0 L
uncle ˈʌŋkəl AH1 NG K AH0 L
aside ɐsˈaɪd AH0 S AY1 D
exam ɛɡzˈæm EH0 G Z AE1 M
roses ɹˈoʊzᵻz R OW1 Z IH0 Z
"""
"""A word, what espeak-ng makes of it, what CMUdict has for it."""


@pytest.mark.parametrize(
    ("word", "ipa", "wanted"),
    [tuple(line.split(" ", 2)) for line in WORDS.strip().splitlines()],
)
def test_a_word_is_spelt_as_in_cmudict(word, ipa, wanted):
    assert " ".join(arpabet(ipa)) == wanted


@pytest.mark.parametrize(
    ("ipa", "wanted"),
    [("ɪt", "IH1 T"), ("nˌɪɹ", "N IH1 R"), ("wˌɛn", "W EH1 N"), ("aɪd", "AY1 D"), ("ænd", "AE1 N D")],
)
def test_a_word_that_is_weak_in_its_sentence_has_its_stress_in_the_dictionary(ipa, wanted):
    assert " ".join(arpabet(ipa)) == wanted


@pytest.mark.parametrize(("ipa", "wanted"), [("ðə", "DH AH0"), ("ɐ", "AH0"), ("tə", "T AH0")])
def test_a_word_of_reduced_vowels_stays_without(ipa, wanted):
    assert " ".join(arpabet(ipa)) == wanted


def test_two_weak_words_that_run_together_get_one_stress():
    assert arpabet("ʌvðɪʲ") == ("AH1", "V", "DH", "IY0")


def test_composed_and_decomposed_signs_are_the_same():
    assert arpabet("\u00e7") == arpabet("c\u0327") == ("HH",)


def test_signs_of_no_english_sound_are_left_out():
    assert arpabet("bˈɑ̃ː—|") == ("B", "AA1")
    assert arpabet("") == arpabet("ˈ.") == ()


def test_what_comes_out_is_one_of_the_symbols_that_are_listed():
    assert {symbol for line in WORDS.strip().splitlines() for symbol in arpabet(line.split()[1])} <= SYMBOLS
    assert len(SYMBOLS) == 15 * 3 + 24


def test_the_words_come_so_from_espeak():
    pytest.importorskip("espeakng_loader", reason="espeak-ng is not installed")
    from voxstack.stages.phonemes.library import read_clauses

    lines = [line.split(" ", 2) for line in WORDS.strip().splitlines()]
    clauses = read_clauses([word for word, _, _ in lines], voice="en-us")
    assert [found[0].phonemes for found in clauses] == [ipa for _, ipa, _ in lines]
