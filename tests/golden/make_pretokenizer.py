#!/usr/bin/env python3
"""Makes pretokenizer.json: random texts over characters that are easy to get wrong, and how the
published expressions of each family cut them, by the regex engine of the Python package `regex`.
Needs: pip install regex.

Engines know different versions of Unicode. The pools below hold characters that all versions since
8.0 put into the same category, and code points that none has assigned; main() compares the two
versions that Python and the package bring.

Usage: make_pretokenizer.py > pretokenizer.json
"""
import json
import random
import sys
import unicodedata

import regex

CONTRACTIONS = r"'s|'t|'re|'ve|'m|'ll|'d"
ANY_CASE = f"(?i:{CONTRACTIONS})"
TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = CONTRACTIONS + r"| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
# Typed as escapes: normalisation of the text of a program would change some of them.
DEEPSEEK_LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293"
    "\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c"
    "\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5"
    "\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
    "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59"
    "\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc"
    "\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107"
    "\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139"
    "\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee"
    "\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e"
    "\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f"
    "\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2"
    "\U000118a0-\U000118df\U0001e900-\U0001e943"
)


def llama3(letters, digits, excluded=r"\p{L}"):
    return (
        ANY_CASE
        + rf"|[^\r\n\p{{L}}\p{{N}}]?{letters}+|{digits}| ?[^\s{excluded}\p{{N}}]+[\r\n]*|"
        + TAIL
    )


PORO = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"


def tekken(suffix, digits):
    start = r"[^\r\n\p{L}\p{N}]?"
    upper = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
    lower = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    return (
        f"{start}{upper}*{lower}+{suffix}|{start}{upper}+{lower}*{suffix}|{digits}"
        + r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
        + TAIL
    )


# GGUF's name of one model of the family: its expressions, applied one after the other.
FAMILIES = {
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "gpt-2": [GPT2],
    "starcoder": [r"\p{N}", GPT2],
    "falcon": [r"[\p{P}\$\+<=>\^~\|\x60]+", GPT2, "[0-9][0-9][0-9]"],
    "llama-bpe": [llama3(r"\p{L}", r"\p{N}{1,3}")],
    "qwen2": [llama3(r"\p{L}", r"\p{N}")],
    "qwen35": [llama3(r"[\p{L}\p{M}]", r"\p{N}", r"\p{L}\p{M}")],
    "tekken": [tekken("", r"\p{N}")],
    "gpt-4o": [tekken(ANY_CASE + "?", r"\p{N}{1,3}")],
    "deepseek-llm": [
        "[\r\n]",
        rf"\s?[{DEEPSEEK_LETTERS}]+",
        "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
        r"\s+$",
        CJK,
        r"\p{N}+",
    ],
    "deepseek-coder": ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, r"\p{N}"],
    "deepseek-v3": [
        r"\p{N}{1,3}",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
        r"| ?[\p{P}\p{S}]+[\r\n]*|" + TAIL,
    ],
    "bailingmoe": [
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*"
        r"|\s*[\r\n]|\s+(?!\S)|\s+"
    ],
    "seed-coder": [
        ANY_CASE + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|" + TAIL
    ],
    "minicpm5": [r"\p{N}{1,3}", llama3(r"\p{L}", r"\p{N}+")],
    "poro-chat": [PORO],
    "viking": [PORO, r"\p{N}"],
}

# Every pool is as likely as the next; runs of one pool make runs of one class.
POOLS = [
    "abcxyzABCXYZ",
    "aA",
    "0123456789",
    "    ",
    "\n",
    "\r\n\t\v\f",
    "'\u2019\u02bc'",
    ["'s", "'S", "'T", "'re", "'RE", "'vE", "'m", "'ll", "'lL", "'d", "'x", "'\u017f", "'r", "'l"],
    "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~",
    "/\n",
    "\u0301\u0308\u20dd\u093f\u0e31\ufe0f\U000e0100",  # marks
    "\u4e00\u6c34\u9fa5\u9fa6\u3042\u30ab\u30fc\u3005\u3007\uac00\ud7a3\u0e01\u05d0\u0627\u0915",
    "\u01c5\u01c8\u1f88\u1fbc",  # title case
    "\u02b0\u02c8\u3031\ua717\u1d2c",  # modifier letters
    "\u00e9\u00df\u0130\u0131\u0416\u0436\u03a3\u03c2\u1e9e\ufb01\u2126\u212a\u2c62\u0561"
    "\U00010400",
    "\u0663\u096b\u00bd\u2167\u2460\u3220\uff15\U0001d7d8\u4e03",  # numbers of other scripts
    "\u00a0\u2003\u3000\u2028\u2029\u0085\u202f\u180e\u200b\u200d\ufeff",
    "\U0001f600\U0001f1e9\U0001f3fd\u2764\u20ac\u00a7\u00b0\u2211\u00d7",
    "\u00bf\u2026\u3001\u3002\uff01\uff1a\u201c\u2014\u0964\u2018\uff5e",
    "\u06d4\u060c|()\ufe30\u3105\u312f\u3131\u318e",
    "\u0378\U0001fffe\U000e0fff\ue000\uffff\x00\x1b\x7f\x1c\x85\u00ad",  # unassigned and others
]
TEXTS = 2500


def random_text(rng):
    pools = rng.sample(POOLS, rng.randint(1, 5))
    text = ""
    for _ in range(rng.randint(1, 6)):
        pool = rng.choice(pools)
        text += "".join(rng.choice(pool) for _ in range(rng.choice([1, 1, 2, 3, 4])))
    return text[:35]


def split_by(expression, pieces):
    for piece in pieces:
        behind = 0
        for match in expression.finditer(piece):
            if match.end() == match.start():
                continue
            if match.start() > behind:
                yield piece[behind : match.start()]
            yield match.group()
            behind = match.end()
        if behind < len(piece):
            yield piece[behind:]


def main():
    rng = random.Random(5)
    texts = sorted({random_text(rng) for _ in range(TEXTS)})
    for character in set("".join(texts)):
        assert regex.fullmatch(rf"\p{{{unicodedata.category(character)}}}", character)
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    splits = {}
    for name, expressions in FAMILIES.items():
        compiled = [regex.compile(e) for e in expressions]
        splits[name] = []
        for text in texts:
            pieces = [text]
            for expression in compiled:
                pieces = list(split_by(expression, pieces))
            assert "".join(pieces) == text
            splits[name].append("".join(digits[len(p)] for p in pieces))
    # The words of each text, by their numbers of characters in base 36.
    golden = {name: " ".join(words) for name, words in splits.items()}
    # Not in escapes: LLVM 14 reads those of the planes from 2 up wrongly.
    json.dump({"texts": texts, "splits": golden}, sys.stdout, indent=0, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
