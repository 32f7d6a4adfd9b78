"""Hold the texts that every benchmark speaks."""

FIVE_WORDS = "The train leaves at nine."
FORTY_FIVE_WORDS = (
    "When the first light of the morning came slowly over the quiet hills and touched the roofs of the little "
    "village where my grandmother had lived for almost eighty years the people began to open their windows and "
    "talk about the long winter that was over"
)
SIX_SENTENCES = (
    "The harbour was quiet that evening. A single boat came back with its lamps already lit. Nobody on the pier "
    "spoke, because everyone had heard the news. The old captain stepped ashore and took off his cap. He looked at "
    "the children and smiled at last. Then the bells began to ring all over the town."
)
TEXTS = {"5 words": FIVE_WORDS, "45 words": FORTY_FIVE_WORDS, "6 sentences": SIX_SENTENCES}


def varied(count: int) -> list[str]:
    """Return texts of many lengths, no two the same."""
    words = FORTY_FIVE_WORDS.split()
    return [
        f"Number {number}: "
        + " ".join(words[(number * 7) % 20 : (number * 7) % 20 + 3 + (number * 13) % 24])
        + "."
        for number in range(count)
    ]
