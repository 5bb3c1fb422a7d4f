#!/usr/bin/env python3
"""Makes tokenizer.json: a small BPE vocabulary, trained here on the texts below, and the ids that
the `tokenizers` Python package gives for them under the pre-tokenizer of each model family.
Needs: pip install tokenizers regex.

Usage: make_tokenizer.py > tokenizer.json
"""
import json
import random
import sys

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import make_pretokenizer

# GGUF's name of the family: its expressions, applied one after the other.
FAMILIES = {**make_pretokenizer.FAMILIES, "dbrx": make_pretokenizer.FAMILIES["llama-bpe"]}
IGNORE_MERGES = {"llama-bpe", "minicpm5", "tekken"}
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|im_end|>!"]

TEXTS = [
    "",
    " ",
    "   ",
    "\n",
    "\n\n\n  \t\n x",
    "\t\ttabs\tand  spaces \r\n and\r\nlines\r\r\n",
    "The quick brown fox jumps over the lazy dog. The dog sleeps; the fox doesn't.",
    "I'm sure they'll say we've SEEN it, they'd say IT'S OURS and HE'LL say it'S not.",
    "Numbers: 1 12 123 1234 12345 1234567890 3.14159 1,000,000 0x1F ٣٤٥ ½ Ⅷ 一二三",
    "for (int i = 0; i < 10; ++i) { sum += values[i]; } // add\n\n\treturn sum;\n}\n",
    "HelloWorld camelCase snake_case SCREAMING_CASE XMLHttpRequest iPhone",
    "https://example.org/path/to?query=1&other=%20#part",
    "Grüße aus Köln: naïve façade, Ærøskøbing, Łódź, İstanbul, e\u0301te\u0301",
    "нещо на Български и по-русски: съешь ещё этих мягких французских булок",
    "我想在苹果店买一个苹果。今天天气很好！東京都は日本の首都です。カタカナ",
    "안녕하세요 세계, مرحبا بالعالم, שלום עולם, नमस्ते दुनिया, สวัสดี",
    "🦙 llama 🚀🚀 (rocket) 👩‍👩‍👧‍👦 family ✅ done 🇩🇪",
    "non\u00a0breaking\u2003em\u3000wide\u2028line\u2029par\u0085nel\u180emvs\u200bzwsp\ufeffbom",
    "''''''```````\"\"\"\"......!!!!!!?????? ------======= <<>> $$^^~~||",
    "nul\0byte and \x7f\x1b[0m controls",
    "<|im_start|>user\nHello there<|im_end|>\n<|im_end|>!<|im_end| >",
    "the the the the  the   the    the     the",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbb",
    "ǅungla ʰmodifier ͏mark \u0301alone ﬁ ligature ß ẞ",
    "/* comment */\n//\n///\n/\r\n",
]


def random_texts():
    rng = random.Random(1)
    ranges = [(97, 122), (65, 90), (48, 57), (32, 32), (9, 13), (33, 47), (0x80, 0x24F)]
    ranges += [(0x300, 0x36F), (0x400, 0x4FF), (0x2000, 0x206F), (0x4E00, 0x4FFF)]
    ranges += [(0x1F600, 0x1F64F)]
    for _ in range(30):
        yield "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(40))


def split_by(expressions):
    steps = [pre_tokenizers.Split(Regex(e), behavior="isolated") for e in expressions]
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    return pre_tokenizers.Sequence(steps)


def train():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = split_by(FAMILIES["qwen2"])
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator([t for t in TEXTS if "<|" not in t], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return tokens, merges


def main():
    tokens, merges = train()
    texts = TEXTS + list(random_texts())
    # Words that merging does not reach show whether a family takes whole words.
    tokens += ["zqzq", "ĠZqzq"]
    texts += ["zqzq Zqzq zqzqzq"]
    ids = {}
    for name, expressions in FAMILIES.items():
        model = models.BPE(
            vocab={token: i for i, token in enumerate(tokens)},
            merges=[tuple(m.split(" ")) for m in merges],
            ignore_merges=name in IGNORE_MERGES,
        )
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = split_by(expressions)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens(SPECIAL)
        ids[name] = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    golden = {"tokens": tokens, "merges": merges, "special": SPECIAL, "texts": texts, "ids": ids}
    json.dump(golden, sys.stdout, ensure_ascii=True, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
