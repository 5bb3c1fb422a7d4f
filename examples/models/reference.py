#!/usr/bin/env python3
"""An independent forward pass over a GGUF file in numpy float64: perplexity, samples, goldens.

    python reference.py --model tiny-workshop-5m.q4_k_m.gguf \\
        [--held-out held_out.jsonl] [--golden golden.json]

It knows nothing of train.py: weights, sizes and tokenizer come from the file, the gguf package
dequantises, and every position is computed at once. Needs numpy, gguf and tokenizers.
--golden writes greedy continuations with the prompt's last logits, for tests.
"""

import argparse
import json

import gguf
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

STORY_PROMPTS = (
    "Once there was",
    "There was once a shy robot named Pixel.",
    "One morning Mia and Bolt were in the workshop.",
)
MOVED_KEY = (
    "Mia put the key into the drawer. Then Tom took the key and put it into the red box. "
    "Where is the key now?"
)
LOOSE_WIRE = (
    "My lamp does not work. I opened it, and one wire hung loose at the back. What should I do?"
)
LOST_KEY = (
    "There was once a kind girl named Lena. Lena always carried a key. Her best friend was Bolt, a "
    "small robot. One day Lena and Bolt were in the kitchen. A pot of soup was warm on the stove. "
    'Suddenly Lena noticed that the key was gone. She was sad. Bolt said, "Let us think before we '
    'run." "I was in the garden first. Then I went to the shed," Lena said.\n\n'
    "Then Lena and Bolt went over to the garden. They looked behind the rose bush, but they found "
    'only a bell. "Then there is one more place," said Bolt.\n\n'
    "Lena and Bolt hurried to the shed. Bolt saw something under a bucket. There lay the key! Bolt "
    "took the key and handed it to Lena. Lena smiled. It had been a good day."
)
CHATS = (
    [("user", "Tell me a story about a broken radio.")],
    [("user", "What is a fuse?")],
    [("user", MOVED_KEY)],
    [("user", "The thermometer shows 37 degrees. Is that good?")],
    [("user", LOOSE_WIRE)],
    [
        ("system", "You are a helpful assistant in a workshop."),
        ("user", "Tell me a story about a lost key."),
        ("assistant", LOST_KEY),
        ("user", "Where was the key?"),
    ],
)


class Model:
    def __init__(self, path: str):
        reader = gguf.GGUFReader(path)
        self.fields = {name: field.contents() for name, field in reader.fields.items()}
        self.weights = {
            t.name: gguf.dequantize(t.data, t.tensor_type).astype(np.float64)
            for t in reader.tensors
        }
        self.block_count = self.fields["llama.block_count"]
        self.heads = self.fields["llama.attention.head_count"]
        self.heads_kv = self.fields["llama.attention.head_count_kv"]
        self.epsilon = self.fields["llama.attention.layer_norm_rms_epsilon"]
        self.rotated = self.fields["llama.rope.dimension_count"]
        self.base = self.fields["llama.rope.freq_base"]

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.weights[name + ".weight"].T

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        scale = np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon)
        return x / scale * self.weights[name + ".weight"]

    def rope(self, x: np.ndarray) -> np.ndarray:
        """x is [head, position, head_length]; the pairs are neighbours."""
        angle = np.outer(
            np.arange(x.shape[1]), self.base ** (-np.arange(0, self.rotated, 2) / self.rotated)
        )
        cos, sin = np.cos(angle), np.sin(angle)
        out = np.empty_like(x)
        out[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
        out[..., 1::2] = x[..., 0::2] * sin + x[..., 1::2] * cos
        return out

    def per_head(self, name: str, x: np.ndarray, heads: int) -> np.ndarray:
        return self.linear(name, x).reshape(len(x), heads, -1).swapaxes(0, 1)

    def attention(self, block: str, x: np.ndarray) -> np.ndarray:
        count = len(x)
        q = self.rope(self.per_head(block + "attn_q", x, self.heads))
        k = self.rope(self.per_head(block + "attn_k", x, self.heads_kv))
        v = self.per_head(block + "attn_v", x, self.heads_kv)
        group = self.heads // self.heads_kv
        k, v = k.repeat(group, axis=0), v.repeat(group, axis=0)
        score = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])
        score += np.triu(np.full((count, count), -np.inf), 1)
        score = np.exp(score - score.max(-1, keepdims=True))
        mixed = score / score.sum(-1, keepdims=True) @ v
        return self.linear(block + "attn_output", mixed.swapaxes(0, 1).reshape(count, -1))

    def logits(self, tokens: list) -> np.ndarray:
        """[position, vocabulary]"""
        x = self.weights["token_embd.weight"][tokens]
        for layer in range(self.block_count):
            block = f"blk.{layer}."
            x = x + self.attention(block, self.norm(block + "attn_norm", x))
            h = self.norm(block + "ffn_norm", x)
            gate = self.linear(block + "ffn_gate", h)
            h = gate / (1 + np.exp(-gate)) * self.linear(block + "ffn_up", h)
            x = x + self.linear(block + "ffn_down", h)
        return self.linear("token_embd", self.norm("output_norm", x))

    def perplexity(self, documents: list) -> float:
        total, count = 0.0, 0
        for tokens in documents:
            logits = self.logits(tokens[:-1])
            peak = logits.max(-1, keepdims=True)
            normaliser = np.log(np.exp(logits - peak).sum(-1)) + peak[:, 0]
            total += (normaliser - logits[np.arange(len(logits)), tokens[1:]]).sum()
            count += len(logits)
        return float(np.exp(total / count))


def tokenizer_of(fields: dict) -> Tokenizer:
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    kinds = fields["tokenizer.ggml.token_type"]
    tokenizer.add_special_tokens(
        [token for token, kind in zip(tokens, kinds) if kind == gguf.TokenType.CONTROL]
    )
    return tokenizer


def chat_text(turns: list) -> str:
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)


def document_text(document: dict) -> str:
    text = document["text"] if "text" in document else chat_text(document["chat"])
    return f"<|bos|>{text}<|endoftext|>"


def continuation(model: Model, prompt: list, count: int) -> dict:
    """`count` greedy tokens; end tokens do not stop it, so that every test has its length."""
    tokens, margins, last_logits = list(prompt), [], None
    for _ in range(count):
        logits = model.logits(tokens)[-1]
        last_logits = logits if last_logits is None else last_logits
        second, first = np.sort(logits)[-2:]
        margins.append(round(float(first - second), 4))
        tokens.append(int(logits.argmax()))
    return {
        "prompt_tokens": list(prompt),
        "next_tokens": tokens[len(prompt) :],
        "margins": margins,
        "last_logits": [float(f"{x:.6g}") for x in last_logits],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--held-out", help="documents of make_corpus.py with another seed")
    parser.add_argument("--golden", help="the .json file to write")
    parser.add_argument("--tokens", type=int, default=64, help="length of the continuations")
    args = parser.parse_args()

    model = Model(args.model)
    tokenizer = tokenizer_of(model.fields)
    if args.held_out:
        with open(args.held_out, encoding="utf-8") as lines:
            texts = [document_text(json.loads(line)) for line in lines]
        documents = [tokenizer.encode(text).ids for text in texts]
        print(f"perplexity over {len(documents)} documents: {model.perplexity(documents):.4f}")

    prompts = list(STORY_PROMPTS)
    prompts += [chat_text(turns) + "<|im_start|>assistant\n" for turns in CHATS]
    cases = []
    for prompt in prompts:
        tokens = tokenizer.encode("<|bos|>" + prompt).ids
        case = continuation(model, tokens, args.tokens)
        case["text"] = tokenizer.decode(case["next_tokens"], skip_special_tokens=False)
        cases.append({"prompt": prompt, **case})
        print(f"--- {prompt}\n[{case['text']}]")
    if args.golden:
        header = {
            "model": args.model.replace("\\", "/").rsplit("/", 1)[-1],
            "how": "greedy, numpy float64 over dequantised weights; prompt_tokens begin with bos",
            "cases": cases,
        }
        with open(args.golden, "w", encoding="utf-8") as out:
            json.dump(header, out)
            out.write("\n")


if __name__ == "__main__":
    main()
