// Show the text that is spoken, and light up each word while it is heard.

export class WordsView {
  constructor(paragraph) {
    this.paragraph = paragraph;
    this.begin("");
  }

  /** Begin anew with a text. */
  begin(text) {
    this.letters = Array.from(text); // offsets count characters, not JavaScript's code units
    this.until = 0;
    this.words = []; // {at_s, span}, in the order in which they are spoken
    this.lit = -1;
    this.rest = document.createTextNode(text);
    this.paragraph.replaceChildren(this.rest);
    this.paragraph.scrollTop = 0;
  }

  /** Take the mark of a word: {time_ms, start, end, value}; offsets count characters of the text. */
  onMark({ time_ms, start, end }) {
    if (start < this.until || end <= start) return; // said twice, or nothing of the text
    const span = document.createElement("span");
    span.className = "word";
    span.textContent = this.letters.slice(start, end).join("");
    this.rest.before(this.letters.slice(this.until, start).join(""), span);
    this.rest.data = this.letters.slice(end).join("");
    this.until = end;
    this.words.push({ at_s: time_ms / 1000, span });
  }

  /** Light up the word at a second of the audio; null: none. */
  show(position_s) {
    let now = -1;
    if (position_s !== null) now = this.words.findLastIndex((word) => word.at_s <= position_s);
    if (now === this.lit) return;
    this.words[this.lit]?.span.classList.remove("now");
    this.lit = now;
    const span = this.words[now]?.span;
    span?.classList.add("now");
    if (span && this.paragraph.scrollHeight > this.paragraph.clientHeight) {
      this.paragraph.scrollTop = span.offsetTop - this.paragraph.offsetTop - this.paragraph.clientHeight / 2;
    }
  }
}
