"""Know the short words whose full stop does not end a sentence, in the languages that write them."""

import re

__all__ = ["continues_sentence", "depends_on_next_word"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Never last in a sentence: a name, a number or an example follows.
_TITLES = _words(
    "mr mrs ms mx dr prof rev fr sr sra srta hon gen sen rep gov capt cpt lt col sgt cmdr maj pres st ste mt "
    "messrs mme mlle mgr dott ing avv arch sig hr herr dipl vs cf viz e.g i.e z.b d.h u.a v.a o.ä bzw ca "
    "p.ex п т.е т.н им проф г-н"
)
# Not last when a number follows.
_BEFORE_NUMBERS = _words(
    "no nos nr núm num n° p pp pg s vol vols fig figs eq eqs ch chap sec art para abs kap bd ed op cap pag "
    "approx c circa tel ext jan feb mar apr jun jul aug sep sept oct nov dec стр гл рис"
)
# After a day number with a full stop (German and its neighbours write ordinals so).
_MONTHS = _words(
    "januar jänner februar märz april mai juni juli august september oktober november dezember "
    "januari februari maart maj mars jahrhundert klasse weltkrieg"
)
# A sentence, not a name, goes on with these after an initial or U.S.
_STARTERS = _words(
    "the a an he she it they we you i this that these those there here his her its their our my in on at as "
    "but and so yet or if when while after before what who why how however then meanwhile"
)
_WORD_AT_END = re.compile(r"[^\W_]+(?:[.'’°\-][^\W_]+)*°?$")


def continues_sentence(before: str, following: str) -> bool:
    """Answer whether the full stop between `before` and the word `following` is an abbreviation's.

    Example:
        >>> continues_sentence("I met Dr", "Smith"), continues_sentence("I met him", "Then")
        (True, False)
    """
    word, alone = _last_word(before)
    small = word.lower()
    if small in _TITLES:
        return True
    if following[:1].isdigit():
        return small in _BEFORE_NUMBERS
    if _is_day(word):
        return alone or following.lower() in _MONTHS
    return _is_initials(word) and following.lower() not in _STARTERS


def depends_on_next_word(before: str) -> bool:
    """Answer whether `continues_sentence` needs more of the next word than its first letter.

    Example:
        >>> depends_on_next_word("in the U.S"), depends_on_next_word("I met him")
        (True, False)
    """
    word, _ = _last_word(before)
    return _is_day(word) or _is_initials(word)


def _last_word(text: str) -> tuple[str, bool]:
    """Return the last word, and whether it is all there is."""
    found = _WORD_AT_END.search(text)
    return (found.group(), found.start() == 0) if found else ("", False)


def _is_day(word: str) -> bool:
    return word.isdigit() and len(word) <= 2


def _is_initials(word: str) -> bool:
    letters = word.split(".")
    return all(len(letter) == 1 and letter.isalpha() for letter in letters) and (
        len(letters) > 1 or word.isupper()
    )
