"""Whatever Unicode a user types: words cut it exactly, scores keep their total, and a page shows it as it was.

SALIENTLY_EXAMPLES sets how many texts are tried over all tokenizers. Without it the same 900 are tried each time; with
it they are new ones.
"""

from __future__ import annotations

import os
import unicodedata
from html.parser import HTMLParser

import numpy as np
import pytest
import regex
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import saliently
from saliently.errors import InputError, SaliencyError
from saliently.models.reading import TokenizerReader
from saliently.types import Explanation, Pinned, Tokens
from saliently.view.page import page
from tests import tiny

pytestmark = pytest.mark.filterwarnings("ignore:.* in the text was read as text:saliently.errors.SaliencyWarning")

EACH = -(-int(os.environ.get("SALIENTLY_EXAMPLES", "900")) // len(tiny.TOKENIZERS))
TRY = settings(
    max_examples=EACH,
    deadline=None,
    derandomize="SALIENTLY_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

ODD = (
    *("שָׁלוֹם", "مَرْحَبًا", "ไทย", "น้ำ", "日本語", "ｶﾞ", "汉字", "한국어", "\u1112\u1161\u11ab", "\u1100", "\u1161"),
    *(
        "👩\u200d👩\u200d👧\u200d👦",
        "🇩🇪",
        "🇫",
        "👍🏽",
        "❤\ufe0f",
        "\ufe0f",
        "1\ufe0f\u20e3",
        "😀",
        "\U000e0041",
        "\U0001f3fb",
    ),
    *(
        "e\u0301",
        "\u0301",
        "\u0301\u0323",
        "o\u0308\u0304",
        "\u0345",
        "ﬁ",
        "ß",
        "İ",
        "ǆ",
        "½",
        "㎏",
        "ﷺ",
        "Å",
        "\u212b",
    ),
    *("\u200b", "\u200d", "\u200c", "\ufeff", "\u00ad", "\u2060", "\u202e", "\u200f", "\u2028", "\u2029", "\u0085"),
    *("\x00", "\x07", "\x1b[31m", "\x7f", "\x9b", "\ufffd", "\uffff", "\U0010ffff", "\ue000", "\u0378"),
    *(" ", "  ", "\t", "\n", "\r\n", "\r", "\u00a0", "\u3000", "\u2003", "\u2581", "▁the", "Ġ", "##ing"),
    *("<script>alert('x')</script>", "&amp;", "</div>", "<!--", '"', "'", "--", "-lrb-", "-", "…", "don't", "3.5%"),
    *("[SEP]", "[CLS]", "[UNK]", "[MASK]", "[PAD]", "</s>", "<pad>", "<unk>", "<|endoftext|>"),
    *("the", "movie", "A", "Фильм", "naïve", "good.", ",", "http://a.b/c?d=e", "aaaaaaaa", "क्षि", "நி", "ཀྱི"),
)
TEXTS = st.lists(st.one_of(st.sampled_from(ODD), st.text(max_size=6)), min_size=1, max_size=12).map("".join)

FIXED = (
    "don't",
    "3.5%",
    "naïve café",
    "e\u0301",
    "👩‍👩‍👧‍👦 family",
    "🇩🇪🇫🇷",
    "فيلمٌ جميلٌ جدًّا",
    "שָׁלוֹם עוֹלָם",
    "หนังเรื่องนี้สนุกมาก",
    "この映画は、とても面白かったです。",
    "-lrb- a film -rrb-",
    "a\r\nb\tc",
    "<script>alert('x')</script> & more",
    "the word " * 2500,
)


def reader(kind: str) -> TokenizerReader:
    tokenizer = tiny.TOKENIZERS[kind]()
    specials, unknown = tokenizer.all_special_tokens, tokenizer.unk_token_id
    return TokenizerReader.over(tokenizer.backend_tokenizer, specials, None, False, unknown)


READERS = {kind: reader(kind) for kind in tiny.TOKENIZERS}


@pytest.mark.parametrize("kind", READERS)
@TRY
@given(text=TEXTS)
def test_any_text(kind: str, text: str) -> None:
    check(kind, text)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("text", FIXED, ids=lambda text: text[:12].encode("unicode_escape").decode())
def test_text_that_is_known_to_be_hard(kind: str, text: str) -> None:
    check(kind, text)


@pytest.mark.parametrize(("kind", "special"), [("wordpiece", "[SEP]"), ("byte-level", "<pad>"), ("unigram", "</s>")])
def test_a_special_token_that_a_user_typed_is_text(kind: str, special: str) -> None:
    tokens = READERS[kind]({"text": f"good {special} film"}, False)
    number = tiny.TOKENIZERS[kind]().convert_tokens_to_ids(special)
    inside = [token for token, span in zip(tokens.ids, tokens.spans, strict=True) if span is not None]
    assert number not in inside
    assert f"{special} in the text was read as text" in tokens.notes[0]
    covered = {at for span in tokens.spans if span is not None for at in range(span.start, span.end)}
    assert covered >= set(range(5, 5 + len(special)))


def test_a_typed_end_of_text_does_not_end_it() -> None:
    """T5's classifier counts ends, and refuses a batch where their number differs."""
    first, second = saliently.explain(tiny.t5(), ["good </s> film", "A gorgeous film."], "gradient-x-input")
    assert [word.text for word in first.words()][-1] == "film"
    assert len(first.special()) == len(second.special()) == 1


@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5"])
@settings(TRY, max_examples=max(1, EACH // 10))
@given(text=TEXTS)
def test_a_real_gradient_keeps_its_total(kind: str, text: str) -> None:
    model = tiny.models(torch.float64)[kind]()
    (_, found), *_ = saliently.stream(model, [text], "gradient-x-input", options=saliently.Options(truncate=True))
    if isinstance(found, SaliencyError):
        assert "empty" in str(found)
        return
    assert np.abs(found.scores).sum() > 0
    assert found.checks.total == pytest.approx(found.scores.sum())
    check_words(found.tokens, text)
    check_total(found)


def read(kind: str, text: str) -> Tokens | InputError:
    try:
        return READERS[kind]({"text": text}, False)
    except InputError as error:
        return error


def check(kind: str, text: str) -> None:
    """Everything that holds for one text."""
    tokens = read(kind, text)
    if isinstance(tokens, InputError):
        assert "empty" in str(tokens)
        encoded = READERS[kind].tokenizer.encode(text)
        assert not text.strip() or all(encoded.special_tokens_mask), "only a text without a token is refused"
        return
    check_spans(tokens, text)
    check_words(tokens, text)
    found = explanation(tokens)
    check_total(found)
    assert shown(page([found])) == readable(text)


def check_spans(tokens: Tokens, text: str) -> None:
    """Spans lie in the text and start in order."""
    spans = [span for span in tokens.spans if span is not None]
    assert spans
    assert all(0 <= span.start <= span.end <= len(text) for span in spans)
    assert [span.start for span in spans] == sorted(span.start for span in spans)
    assert [unit is None for unit in tokens.units] == [span is None for span in tokens.spans]


def check_words(tokens: Tokens, text: str) -> None:
    """Words partition the text, cut no character in two, and share no token."""
    assert "".join(tokens.text(part) for part in tokens.parts) == text
    assert all(part.start < part.end for part in tokens.parts)
    ends = {0, *(cluster.end() for cluster in regex.finditer(r"\X", text))}
    assert {part.start for part in tokens.parts} | {part.end for part in tokens.parts} <= ends
    owner: dict[int, int] = {}
    for span, unit in zip(tokens.spans, tokens.units, strict=True):
        if span is None or unit is None:
            continue
        for at in range(span.start, span.end):
            if not text[at].isspace():  # a space belongs to the token before or behind it, as its tokenizer likes
                assert owner.setdefault(at, unit) == unit
                assert tokens.parts[unit].start <= at < tokens.parts[unit].end


def check_total(found: Explanation) -> None:
    """Words and special tokens add up to the total."""
    apart = sum(word.score or 0.0 for word in found.words()) + sum(score for _, score in found.special())
    assert abs(apart - found.scores.sum()) <= 1e-6 * max(1.0, np.abs(found.scores).sum())


def explanation(tokens: Tokens) -> Explanation:
    """Made-up scores, so that thousands of texts cost nothing."""
    scores = np.random.default_rng(len(tokens.ids)).normal(size=len(tokens.ids))
    target = Pinned(0, "fine", "logit")
    return Explanation(tokens, "gradient-x-input", "saliency", (target,), scores, (1.0,), None)


def shown(html: str) -> str:
    """What a reader of the page sees of the text."""
    parser = Shown()
    parser.feed(html)
    parser.close()
    return "".join(parser.found)


class Shown(HTMLParser):
    """Collects the characters within elements of class saliently-text."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[str] = []
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.inside or "saliently-text" in (dict(attrs).get("class") or "").split():
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.inside:
            assert self.inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.found.append(data)


def readable(text: str) -> str:
    """The text with control characters as escapes; a tab and a line feed show by themselves."""
    return "".join(f"\\x{ord(c):02x}" if unicodedata.category(c) == "Cc" and c not in "\n\t" else c for c in text)
