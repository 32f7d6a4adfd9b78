"""Hold the texts that every benchmark speaks."""

FIVE_WORDS = "The train leaves at nine."
FORTY_FIVE_WORDS = (
    "When the first light of the morning came slowly over the quiet hills and touched the roofs of the little village "
    "where my grandmother had lived for almost eighty years the people began to open their windows and talk about the "
    "long winter that was over"
)
SHORT_SENTENCES = (
    "The harbour was quiet that evening. A single boat came back with its lamps already lit. Nobody on the pier "
    "spoke, because everyone had heard the news. The old captain stepped ashore and took off his cap. He looked at "
    "the children and smiled at last. Then the bells began to ring all over the town."
)
SIX_SENTENCES = (
    "When the ferry finally reached the island, most of the passengers were asleep on the wooden benches below the "
    "deck. A tall woman with a red umbrella stood alone at the bow and counted the lights along the shore. She had "
    "not seen this harbour for eleven years, and almost nothing seemed to have changed since then. The bakery still "
    "opened before sunrise, and the smell of fresh bread drifted across the water towards the boat. Two boys were "
    "mending a net under the only lamp on the pier, and neither of them looked up. She picked up her suitcase, took "
    "a deep breath, and walked down the narrow plank into the town."
)
TEXTS = {
    "5 words": FIVE_WORDS,
    "45 words": FORTY_FIVE_WORDS,
    "6 sentences": SIX_SENTENCES,
    "6 short sentences": SHORT_SENTENCES,
}

SENTENCES = (
    "The train to the coast leaves every morning at nine.",
    "Please close the window before you go to bed tonight.",
    "My sister bought three apples and a loaf of bread.",
    "The old bridge was built by hand more than a century ago.",
    "Nobody in the room knew the answer to his question.",
    "She opened the letter slowly and began to read it aloud.",
    "Heavy rain is expected in the north later this afternoon.",
    "The children were playing football behind the school.",
    "A small dog ran across the street and vanished in the park.",
    "I would rather walk home than wait another hour for the bus.",
    "The museum is open from Tuesday to Sunday during the summer.",
    "His grandfather taught him how to repair an old clock.",
    "We had dinner on the terrace and talked until midnight.",
    "The price of coffee has risen sharply over the last year.",
    "Turn left at the church and follow the road down the hill.",
    "The scientists were surprised by the results of their test.",
    "There is a good reason why the shop was closed on Monday.",
    "He put the heavy box on the table and wiped his forehead.",
    "The concert will begin as soon as the orchestra is ready.",
    "Fresh snow covered the fields and the roofs of the village.",
)
"""Plain words, so that a recogniser writes them as they stand here."""


def varied(count: int) -> list[str]:
    """Return texts of many lengths, no two the same."""
    words = FORTY_FIVE_WORDS.split()
    return [
        f"Number {number}: "
        + " ".join(words[(number * 7) % 20 : (number * 7) % 20 + 3 + (number * 13) % 24])
        + "."
        for number in range(count)
    ]
