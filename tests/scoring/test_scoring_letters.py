"""Reading an option's letter as a reader of the language would, and finding none where there is none."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tunelab.scoring.letters import LETTERS, explicit_letter, judged_letter, read_letter
from tunelab.scoring.score import Outcome

FOUR = ("A", "B", "C", "D")
CASES = [
    # letters alone
    ("B", "B"),
    (" b \n", "B"),
    ("(C)", "C"),
    ("d)", "D"),
    ("**A**", "A"),
    ("`D`.", "D"),
    ("\uff22", "B"),
    ("B) Paris", "B"),
    ("B. weil A und C falsch sind", "B"),
    ("A Paris", "A"),
    ("A", "A"),
    # English
    ("Answer: B", "B"),
    ("ANSWER: (d)", "D"),
    ("The answer is (c).", "C"),
    ("The correct answer to the question is option A.", "A"),
    ("First I thought the answer is A, but the answer is C.", "C"),
    ("The answer is not A but B.", "B"),
    ("Answer: A number of reasons speak for it. The answer is D.", "D"),
    ("A and C are wrong, so B is correct, and A is a trap", "B"),
    ("**Answer:** $\\boxed{\\text{C}}$", "C"),
    ('{"answer": "B"}', "B"),
    ("Option A is wrong. Option D fits.", "D"),
    ("I choose B, since A is cold.", "B"),
    ("A) no\nB) yes\nC) no\nSo B", "B"),
    ("Answer:\nC", "C"),
    ("The answer is a number.", None),
    ("A dog is a mammal.", None),
    ("The answer is E = mc2", None),
    ("It is 25 °C, vitamin-C or C++", None),
    ("I'd say they can't tell", None),
    # alternatives that are left open
    ("A or B", None),
    ("A oder B", None),
    ("A ou B", None),
    ("Die Antwort ist A oder B.", None),
    ("Réponse : (A) ou (B)", None),
    ("The answer is either option A or option B", None),
    ("The answer is A, B, or C.", None),
    ("A or B or C", None),
    ("Antwort: A, B oder C", None),
    ("La respuesta es A o B", None),
    ("**A** oder **D**", None),
    ("答案是A或B", None),
    ("정답은 A 또는 B", None),
    ("A oder B? Die Antwort ist C.", "C"),
    ("A or B? I'd say B", "B"),
    ("B or B", "B"),
    ("A, B, C oder D", None),
    ("Resposta: B\nO a opção está certa.", "B"),
    ("The answer is not A or B but C.", "C"),
    ("B or so I think", "B"),
    ("Die Antwort ist D, oder?", "D"),
    # German
    ("Antwort: **D**ie richtige Option ist B", "B"),
    ("Die Antwort ist C.", "C"),
    ("Die richtige Antwort lautet: c)", "C"),
    ("Antwort: A weil es so ist", "A"),
    ("Antwort B ist falsch, Antwort A ist richtig.", "A"),
    ("D ist die richtige Lösung, da A nicht passt.", "D"),
    ("Ich wähle C", "C"),
    ("Die Antwort ist nicht A, sondern D.", "D"),
    ("Alle drei da.", None),
    # French
    ("Réponse : C", "C"),
    ("La bonne réponse est la lettre D.", "D"),
    ("Re\u0301ponse a\u0300 la question : B", "B"),
    ("La réponse à la question est « A ».", "A"),
    ("La réponse est d'accord", None),
    ("A\u0300 Paris il a plu", None),
    ("C'est à dire", None),
    ("B est la bonne réponse, A est fausse", "B"),
    # Spanish, Italian, Portuguese
    ("Respuesta: B", "B"),
    ("La respuesta correcta es la opción D", "D"),
    ("Risposta: C", "C"),
    ("La risposta è a favore", None),
    ("La risposta corretta è la B.", "B"),
    ("A resposta correta é a letra D", "D"),
    ("A resposta é E.", "E"),
    # Indonesian, Swahili, Yoruba
    ("Jawaban yang benar adalah C.", "C"),
    ("Jawaban: a", "A"),
    ("Jibu sahihi ni B", "B"),
    ("Ìdáhùn tó tọ́ ni D", "D"),
    # Arabic, Bengali, Hindi
    ("الإجابة الصحيحة هي C", "C"),
    ("الإجابة: B", "B"),
    ("সঠিক উত্তর হল A।", "A"),
    ("सही उत्तर B है।", "B"),
    # Japanese, Korean, Chinese
    ("正解は\uff24です。", "D"),
    ("答え：B", "B"),
    ("Bが正解です。Aは違います。", "B"),
    ("정답은 C입니다.", "C"),
    ("正确答案是选项 A。", "A"),
    ("答案不是A，而是C", "C"),
    ("我选B，因为A太冷", "B"),
    ("答案是B，不是A", "B"),
    ("选项A错误，选项B正确。", "B"),
    # denied, listed, and lines
    ("Jawabannya adalah B, bukan A.", "B"),
    ("La respuesta es B. No es A.", "B"),
    ("(A) is wrong. (B) is incorrect. (C) is correct. (D) is false.", "C"),
    ("A: falsch\nB: richtig\nC: falsch", "B"),
    ("A. x\nB. y\nC. z\nD. w\n\nAntworte nur mit dem Buchstaben der richtigen Option.", None),
    ("Options:\nA. x\nB. y\nAnswer: A", "A"),
    ("C) Paris\n\nA) and B) are wrong.", "C"),
    ("Answer:\nC\nOption B would need more.", "C"),
    ("not A", None),
]
MARKERS = (
    "Answer: {}",
    "The answer is {}.",
    "Antwort: {}",
    "Die richtige Antwort ist {}.",
    "Réponse : {}",
    "La réponse est {}.",
    "Respuesta: {}",
    "La respuesta correcta es {}.",
    "Risposta: {}",
    "La risposta è {}.",
    "Resposta: {}",
    "A resposta é {}.",
    "Jawaban: {}",
    "Jibu: {}",
    "Ìdáhùn: {}",
    "الإجابة: {}",
    "উত্তর: {}",
    "उत्तर: {}",
    "答え：{}",
    "정답: {}",
    "答案：{}",
)
STYLES = ("{}", "**{}**", "({})", "`{}`", "[{}]", "{})", "\\boxed{{{}}}")


@pytest.mark.parametrize(("output", "expected"), CASES)
def test_a_letter_is_read_as_a_reader_would(output, expected):
    assert read_letter(output, FOUR) == expected


@given(st.sampled_from(MARKERS), st.sampled_from(STYLES), st.sampled_from(LETTERS), st.booleans(), st.booleans())
def test_any_letter_behind_any_marker_is_found(marker, style, letter, wide, small):
    shown = chr(ord(letter) + 0xFEE0) if wide else letter
    output = marker.format(style.format(shown.lower() if small else shown))
    assert read_letter(output, FOUR) == explicit_letter(output) == letter


@given(st.sampled_from(MARKERS), st.sampled_from(LETTERS), st.sampled_from(MARKERS), st.sampled_from(LETTERS))
def test_the_last_answer_given_counts(first, before, second, letter):
    assert read_letter(f"{first.format(before)}\n{second.format(letter)}", FOUR) == letter


@given(st.text(max_size=60))
def test_text_without_a_letter_that_stands_alone_gives_none(text):
    assume(not re.search(r"[A-Ea-e\uff21-\uff25\uff41-\uff45]", text))
    assert read_letter(text, FOUR) is None


@given(st.lists(st.text(alphabet="abcdeéà", min_size=2, max_size=8), max_size=12))
def test_letters_inside_words_are_none(words):
    assert read_letter(" ".join(words), FOUR) is None


def test_an_explicit_letter_that_no_option_has_is_wrong_and_a_stray_one_no_answer():
    named, stray = (judged_letter(text, ("A", "B", "C"), ("B",)) for text in ("Antwort: D", "Vitamin D"))
    assert (named.outcome, named.answer) == (Outcome.WRONG, "D")
    assert (stray.outcome, stray.answer) == (Outcome.NO_ANSWER, None)


def test_the_letter_that_was_read_is_kept_for_a_confusion_matrix():
    scores = [judged_letter(text, FOUR, ("B",)) for text in ("Antwort: b", "Antwort: c", "hm")]
    assert [(score.outcome, score.answer) for score in scores] == [
        (Outcome.CORRECT, "B"),
        (Outcome.WRONG, "C"),
        (Outcome.NO_ANSWER, None),
    ]
    assert [score.values["accuracy"] for score in scores] == [1, 0, 0]


@pytest.mark.parametrize("letter", "ABCDE")
@pytest.mark.parametrize(
    "answer",
    [
        "Die Antwort ist {} und nicht die anderen.",
        "La réponse correcte est {} selon le texte",
        "Antwort: {} aufgrund des Textes",
        "Option {} stimmt",
        "Antwort {} trifft zu, weil",
        "The answer is {} and nothing else",
        "La lettre {} convient",
        "Je choisis {} donc",
    ],
)
def test_every_letter_is_read_alike_whatever_word_follows(answer, letter):
    assert read_letter(answer.format(letter)) == letter


@pytest.mark.parametrize(
    "answer",
    ["Answer: A triangle has three sides", "Réponse : A priori, rien", "la risposta è a favore", "A man. E poi"],
)
def test_an_article_is_no_letter_behind_a_colon_either(answer):
    assert read_letter(answer) is None
