"""Which option's letter a generated answer to a multiple-choice question gives.

Every letter that is a word of its own is a candidate, and the words around it decide. The last one that is said to
be the answer counts, in any of MMMLU's languages ("Antwort: B", "la réponse est la lettre C", "正解はＤです", "B is
correct"). Failing that, the last that has a line to itself, the last that follows a word like "option", the first
that begins a line, the last capital. What is denied ("not A", "B ist falsch") is no answer; neither are options that
are only listed again, alternatives that are left open ("A or B", "A, B oder C"), an article or a preposition ("A number
of ...", "la risposta è a favore"), or a letter inside a word ("**D**ie Option ist B" is B). Look-alikes of other
alphabets are not read: options are lettered in Latin here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from tunelab.scoring.labels import ACCURACY
from tunelab.scoring.score import Score, judged

LETTERS = "ABCDE"
"""The letters of all options that a question may have."""
REACH = 120
"""How many characters before and after a letter are looked at."""

FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
MARKDOWN = re.compile(r"[*_`~]|^[ \t]*(?:#+|>|[-+•])(?=\s)|\\(?:text|mathrm|mathbf|textbf)(?=\s*\{)", re.MULTILINE)
LATIN = r"A-Za-z0-9À-ɏḀ-ỿ\u0300-\u036f"
ALONE = re.compile(rf"(?<![{LATIN}°])(?<![{LATIN}][-.'’])[A-Ea-e](?![{LATIN}+#°]|[-'’][{LATIN}]|\s*[=<>^])")
OPEN, CLOSE = r"[\s\"'“”„«»‹›「」『』()\[\]【】{}$\\]*", r"[\s\"'“”«»‹›「」『』()\[\]【】{}$\\]"

NOUN = (
    r"\b(?:answer|solution|antwort|lösung|réponse|respuesta|solución|risposta|soluzione|resposta|solução|jawaban(?:nya)?"
    r"|jibu|ìdáhùn|idahun|option|choice|letter|auswahl|buchstabe|choix|lettre|opción|letra|alternativa|opzione|scelta"
    r"|lettera|opção|escolha|pilihan|opsi|huruf|chaguo|herufi|àṣàyàn|lẹ́tà)"
)
IS = (
    r"(?:is|are|was|be|ist|sind|sei|wäre|lautet|est|sont|serait|es|son|sería|è|sono|sarebbe|é|são|seria|adalah|ialah"
    r"|yaitu|ni|jẹ́|jẹ)"
)
LINK = (
    r"(?:the|option|choice|letter|answer|clearly|therefore|die|der|buchstabe|antwort|also|daher|somit|la|le|réponse"
    r"|lettre|donc|el|opción|letra|respuesta|il|opzione|lettera|risposta|a|o|opção|alternativa|resposta|pilihan|huruf"
    r"|opsi|chaguo|herufi|àṣàyàn|lẹ́tà)"
)
CHOOSE = r"\b(?:choose|pick|select|wähle|choisis|elijo|scelgo|escolho|memilih|ninachagua)"
OTHER_SCRIPTS = (
    r"(?:答え|正解|解答|回答|答案|選択肢|选项|選項|选择|選擇|选|선택|정답|답"
    r"|الإجابة|الاجابة|إجابة|الجواب|الخيار|উত্তর|বিকল্প|उत्तर|जवाब|विकल्प)"
)
DENIAL = r"(?:不|ではな|じゃな|아니|ليس|नहीं|নয়)"
NO = r"\b(?:not|neither|nor|nicht|kein|weder|noch|pas|no|non|né|não|nem|bukan|si|kìí)\b"
SAID_BEFORE = re.compile(
    rf"{NOUN}(?:s|e|en)?(?:\s+(?!{IS}\s|[a-e]\s)[^\s.,:;=!?]+){{0,6}}?[\s\"'”»)]*(?:[:=]|\s{IS}(?=\W))[\s:]*"
    rf"(?:{OPEN}{LINK}(?=[\s:]))*[\s:]*{OPEN}\Z"
    rf"|{CHOOSE}(?:\s+{LINK})*\s+{OPEN}\Z"
    rf"|{OTHER_SCRIPTS}(?:(?!{DENIAL})[^A-Za-z.。।？?！!\n]){{0,30}}\Z"
    r"|\\boxed[\s{]*\Z",
    re.IGNORECASE,
)
NAMED_BEFORE = re.compile(rf"{NOUN}(?:s|e|en)?\s+{OPEN}\Z", re.IGNORECASE)
DENIED_BEFORE = re.compile(rf"(?:{NO}|不是|ليست?|neben|except)(?:\s+{LINK})*\s*{OPEN}\Z", re.IGNORECASE)
CALLED = rf"{CLOSE}*(?:\s{IS}\s+|:\s*)"
RIGHT_AFTER = re.compile(
    rf"{CALLED}(?:(?!{NO})\w+\s+){{0,2}}?(?:correct|right|the answer|richtig|korrekt|juste|exact|bonne|corrett|giust"
    r"|respuesta|cierta|corret|certa|resposta|benar|jawaban|sahihi)"
    rf"|(?:(?!{DENIAL})[^A-Za-z。，、,\n]){{0,8}}?(?:正解|正确|正確|正しい|정답|맞|الصحيح|सही|সঠিক)",
    re.IGNORECASE,
)
WRONG = r"(?:wrong|salah|(?:incorrect|falsch|fals|fau[sx]|errad|errat|sbagliat)\w*)\b"
WRONG_AFTER = re.compile(
    rf"{CALLED}(?:\w+\s+)?{WRONG}|{CLOSE}*\s(?:{IS}\s+(?:\w+\s+)?(?:not|nicht|pas)|n['’]est\s+pas|no\s+es|non\s+è|não\s+é"
    rf"|bukan|si\s+sahihi)\b|[^A-Za-z。，、,\n]{{0,6}}?(?:{DENIAL}|错|間違|틀)",
    re.IGNORECASE,
)
OR = (
    r"(?:[ \t]{1,3}(?:or|oder|ou|o|u|oppure|atau|au|tàbí|tabi)[ \t]{1,3}"
    r"|[ \t]{0,3}(?:或者?|または|あるいは|또는|혹은|أو|او|या|অথবা|বা)[ \t]{0,3})"
)
NEXT = rf"(?:{LINK}\s+)*{OPEN}{ALONE.pattern}"
EITHER = re.compile(
    rf"{ALONE.pattern}(?:{CLOSE}{{0,3}}(?:,[ \t]{{0,3}}|{OR}){NEXT}){{0,3}}{CLOSE}{{0,3}},?{OR}{NEXT}",
    re.IGNORECASE,
)
VERDICT = re.compile(
    r"[ \t]+(?:is|was|because|since|as|ist|weil|da|denn|est|car|parce|es|porque|è|perché|é|pois|adalah|karena|ni|kwa)\b"
)
WORD = re.compile(r"[ \t]+[^\W\d_A-Z]")
MARKED = re.compile(rf"[:=]{OPEN}\Z")
GOES_ON = re.compile(
    r"[ \t]+(?:and|or|not|according|based|given|und|oder|nicht|nach|laut|gemäß|aufgrund|wegen|stimmt|et|ou|pas|selon"
    r"|d['’]après|puisque|y|o|según|secondo|segundo|conforme|kwa|menurut)\b",
    re.IGNORECASE,
)
"""Follows a letter behind a colon, where "A" may begin a sentence: "Antwort: A aufgrund", not "Answer: A triangle"."""
MARK = re.compile(r"\s*(?:[^\w\s]|\Z)|[ \t]*\n")
LINE_START, LINE_END = re.compile(rf"(?:\A|\n){OPEN}\Z"), re.compile(rf"(?:{CLOSE}|[.:])*?[ \t]*(?:\n|\Z)")
LISTED = re.compile(r"[ \t]*[).:,\]】」]|[ \t]*\n|\s*\Z")


def read_letter(output: str, letters: Sequence[str] = LETTERS) -> str | None:
    """Return the letter that an output gives as its answer, as a capital; None when it gives none.

    ``letters`` are those of the question's options. An explicit answer may name another of ``LETTERS``, and is then
    wrong; a letter that merely stands somewhere counts only if there is such an option.
    """
    found = _candidates(output)
    offered = [candidate for candidate in found if candidate.letter in letters and not candidate.denied()]
    return (
        _last(found, _Candidate.said)
        or _last(offered, _Candidate.fills_its_line)
        or _last(offered, _Candidate.named)
        or _last(offered[::-1], _Candidate.begins_a_line)
        or _last(offered, _Candidate.is_capital)
    )


def explicit_letter(output: str) -> str | None:
    """Return the last letter that an output says to be the answer; None where it only lets one stand there."""
    return _last(_candidates(output), _Candidate.said)


def judged_letter(output: str, letters: Sequence[str], targets: Sequence[str]) -> Score:
    """Score an output by the letter that it gives: accuracy."""
    answer = read_letter(output, letters)
    correct = answer is not None and answer in targets
    return judged(correct, answer, {ACCURACY.name: float(correct)}, f"gold {', '.join(targets) or 'none'}")


def _candidates(output: str) -> list[_Candidate]:
    """Return the letters of an output that may be answers, in order.

    Options that it only lists again are none, and neither are alternatives between which it does not choose.
    """
    text = MARKDOWN.sub("", unicodedata.normalize("NFC", output).translate(FULL_WIDTH))
    either = [match for match in EITHER.finditer(text) if len({*map(str.upper, ALONE.findall(match[0]))}) > 1]
    open_ = {at for match in either for at in range(*match.span())}
    alone = [_Candidate(text, match.start()) for match in ALONE.finditer(text) if match.start() not in open_]
    found = [candidate for candidate in alone if candidate.is_letter()]
    if [candidate.letter for candidate in found if candidate.is_listed()][:2] != ["A", "B"]:
        return found
    return [candidate for candidate in found if not candidate.is_listed() or candidate.called_right()]


class _Candidate:
    """A letter that stands alone, with what is written before and after it."""

    def __init__(self, text: str, at: int) -> None:
        self.letter = text[at].upper()
        self.small = text[at].islower()
        self.before = text[max(0, at - REACH) : at]
        self.after = text[at + 1 : at + 1 + REACH]

    def is_letter(self) -> bool:
        """Say whether it may be an option's letter and no word: not "A number of", not "è a favore"."""
        if VERDICT.match(self.after):
            return True
        if self.small:
            return MARK.match(self.after) is not None
        return self.letter not in "AE" or not WORD.match(self.after) or self.is_no_article()

    def is_no_article(self) -> bool:
        """Say whether a capital before a word is a letter all the same: "is A and not D", "Option A stimmt"."""
        if MARKED.search(self.before):
            return GOES_ON.match(self.after) is not None
        return self.named() or self.said()

    def said(self) -> bool:
        return (SAID_BEFORE.search(self.before) is not None or self.called_right()) and not self.denied()

    def called_right(self) -> bool:
        return RIGHT_AFTER.match(self.after) is not None

    def denied(self) -> bool:
        return bool(DENIED_BEFORE.search(self.before) or WRONG_AFTER.match(self.after))

    def named(self) -> bool:
        return NAMED_BEFORE.search(self.before) is not None

    def fills_its_line(self) -> bool:
        return bool(LINE_START.search(self.before) and LINE_END.match(self.after))

    def begins_a_line(self) -> bool:
        return bool(LINE_START.search(self.before) and (LISTED.match(self.after) or self.is_capital()))

    def is_listed(self) -> bool:
        return bool(LINE_START.search(self.before) and LISTED.match(self.after)) and not self.fills_its_line()

    def is_capital(self) -> bool:
        return not self.small


def _last(candidates: Sequence[_Candidate], holds: Callable[[_Candidate], bool]) -> str | None:
    return next((candidate.letter for candidate in reversed(candidates) if holds(candidate)), None)
