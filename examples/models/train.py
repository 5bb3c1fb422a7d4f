#!/usr/bin/env python3
"""Trains the tokenizer and the model on the corpus that make_corpus.py wrote.

    python train.py --corpus corpus.jsonl --out trained

Writes tokenizer.json, config.json and model.safetensors (float16) to the output folder. The model
is a plain Llama: RMSNorm, RoPE on adjacent pairs, grouped-query attention, SwiGLU, tied embeddings.
Needs torch, tokenizers, safetensors and numpy; with a data-centre GPU it takes minutes.
"""

import argparse
import json
import math
import os
import random
import time
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn

BOS, END_OF_TEXT, TURN_START, TURN_END = "<|bos|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"
PROMPTS = (
    BOS + "Once there was",
    BOS + "The rain had stopped, and the robot",
    (
        f"{BOS}{TURN_START}user\nTell me a story about a broken"
        f" radio.{TURN_END}\n{TURN_START}assistant\n"
    ),
    f"{BOS}{TURN_START}user\nWhat is a fuse?{TURN_END}\n{TURN_START}assistant\n",
)


@dataclass
class Config:
    vocab_size: int = 2048
    context_length: int = 512
    embedding_length: int = 256
    block_count: int = 6
    feed_forward_length: int = 768
    head_count: int = 8
    head_count_kv: int = 4
    rms_epsilon: float = 1e-5
    rope_freq_base: float = 10000.0

    @property
    def head_length(self) -> int:
        return self.embedding_length // self.head_count


# --- data ----------------------------------------------------------------------------------------


def document_text(document: dict) -> str:
    """The document as the model sees it, special tokens included."""
    if "text" in document:
        return BOS + document["text"] + END_OF_TEXT
    turns = (f"{TURN_START}{role}\n{text}{TURN_END}\n" for role, text in document["chat"])
    return BOS + "".join(turns) + END_OF_TEXT


def read_corpus(path: str) -> list:
    with open(path, encoding="utf-8") as lines:
        return [document_text(json.loads(line)) for line in lines]


def train_tokenizer(texts: list, vocab_size: int) -> Tokenizer:
    """Byte-level BPE with GPT-2's split, so every text can be encoded and nothing is unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    specials = [BOS, END_OF_TEXT, TURN_START, TURN_END]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain = []
    for text in texts:
        for special in specials:
            text = text.replace(special, "\n")
        plain.append(text)
    tokenizer.train_from_iterator(plain, trainer)
    return tokenizer


def pack(documents: list, length: int) -> np.ndarray:
    """Rows of `length` tokens. Each row starts with a whole document, as every real prompt does.

    A document that does not fit into the rest of a row fills that rest with its beginning and then
    starts once more in the next row, so that no document is seen without its start.
    """
    rows, row = [], []
    for tokens in documents:
        if len(row) + len(tokens) > length and row:
            rows.append((row + tokens)[:length])
            row = []
        row = row + tokens[: length - len(row)]
        if len(row) == length:
            rows.append(row)
            row = []
    return np.array(rows, dtype=np.uint16)


# --- model ---------------------------------------------------------------------------------------


def rope_tables(config: Config, device) -> tuple:
    pair = torch.arange(0, config.head_length, 2, device=device, dtype=torch.float32)
    inverse = config.rope_freq_base ** (-pair / config.head_length)
    position = torch.arange(config.context_length, device=device, dtype=torch.float32)
    angle = torch.outer(position, inverse)
    return angle.cos(), angle.sin()


def rope(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turns the pairs (0, 1), (2, 3), ... of x, which is [batch, head, position, head_length]."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[: x.shape[-2]], sin[: x.shape[-2]]
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).to(x.dtype)


class RMSNorm(nn.Module):
    def __init__(self, size: int, epsilon: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return (y * self.weight).to(x.dtype)


class Block(nn.Module):
    """Named after the tensors of GGUF, so that the export is a plain copy."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        size, ffn = config.embedding_length, config.feed_forward_length
        size_kv = config.head_count_kv * config.head_length
        self.attn_norm = RMSNorm(size, config.rms_epsilon)
        self.attn_q = nn.Linear(size, size, bias=False)
        self.attn_k = nn.Linear(size, size_kv, bias=False)
        self.attn_v = nn.Linear(size, size_kv, bias=False)
        self.attn_output = nn.Linear(size, size, bias=False)
        self.ffn_norm = RMSNorm(size, config.rms_epsilon)
        self.ffn_gate = nn.Linear(size, ffn, bias=False)
        self.ffn_up = nn.Linear(size, ffn, bias=False)
        self.ffn_down = nn.Linear(ffn, size, bias=False)

    def forward(self, x, cos, sin):
        c = self.config
        h = self.attn_norm(x)
        q = self.attn_q(h).unflatten(-1, (c.head_count, c.head_length)).transpose(1, 2)
        k = self.attn_k(h).unflatten(-1, (c.head_count_kv, c.head_length)).transpose(1, 2)
        v = self.attn_v(h).unflatten(-1, (c.head_count_kv, c.head_length)).transpose(1, 2)
        q, k = rope(q, cos, sin), rope(k, cos, sin)
        group = c.head_count // c.head_count_kv
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_output(h.transpose(1, 2).flatten(-2))
        h = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))


class Llama(nn.Module):
    def __init__(self, config: Config, device):
        super().__init__()
        self.token_embd = nn.Embedding(config.vocab_size, config.embedding_length)
        self.blk = nn.ModuleList(Block(config) for _ in range(config.block_count))
        self.output_norm = RMSNorm(config.embedding_length, config.rms_epsilon)
        self.rope = rope_tables(config, device)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                # Branches that are added to the residual start smaller, the deeper the model is.
                deep = "attn_output" in name or "ffn_down" in name
                nn.init.normal_(
                    weight, std=0.02 / math.sqrt(2 * config.block_count) if deep else 0.02
                )
        self.to(device)

    def forward(self, tokens):
        x = self.token_embd(tokens)
        for block in self.blk:
            x = block(x, *self.rope)
        return F.linear(self.output_norm(x), self.token_embd.weight)


# --- training ------------------------------------------------------------------------------------


def loss_of(model, rows: torch.Tensor) -> torch.Tensor:
    rows = rows.long()
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())


@torch.no_grad()
def validation_loss(model, rows: torch.Tensor, batch: int) -> float:
    # Only whole batches: another shape would make torch.compile start over.
    batch = min(batch, len(rows))
    starts = range(0, len(rows) - batch + 1, batch)
    losses = [loss_of(model, rows[i : i + batch]).item() for i in starts]
    return sum(losses) / len(losses)


@torch.no_grad()
def continue_text(model, tokenizer: Tokenizer, prompt: str, count: int, device) -> str:
    """Greedy continuation; computes the whole text again for each token: slow, but simple."""
    tokens = tokenizer.encode(prompt).ids
    stops = {tokenizer.token_to_id(END_OF_TEXT), tokenizer.token_to_id(TURN_END)}
    for _ in range(count):
        logits = model(torch.tensor([tokens], device=device))
        tokens.append(int(logits[0, -1].argmax()))
        if tokens[-1] in stops:
            break
    return tokenizer.decode(tokens, skip_special_tokens=False)


def train(args, config: Config, train_rows, valid_rows, device):
    torch.manual_seed(args.seed)
    model = Llama(config, device)
    count = sum(p.numel() for p in model.parameters())
    print(f"{count / 1e6:.2f} million parameters, {train_rows.size / 1e6:.1f} million tokens")

    train_rows = torch.from_numpy(train_rows.astype(np.int32)).to(device)
    valid_rows = torch.from_numpy(valid_rows.astype(np.int32)).to(device)
    matrices = [p for p in model.parameters() if p.dim() == 2]
    norms = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}],
        lr=args.learning_rate,
        betas=(0.9, 0.95),
        fused=device.type == "cuda",
    )
    runner = torch.compile(model) if args.compile else model
    cast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")
    torch.set_float32_matmul_precision("high")

    generator = torch.Generator().manual_seed(args.seed)
    order, used = torch.randperm(len(train_rows), generator=generator), 0
    started = time.time()
    for step in range(args.steps + 1):
        elapsed = time.time() - started
        # With a time limit the learning rate follows the clock if that is ahead of the steps, so
        # that a slow machine still ends with a finished, only less trained, model.
        progress = max(step / args.steps, elapsed / args.max_seconds if args.max_seconds else 0)
        if step % args.report_every == 0 or progress >= 1:
            with cast:
                loss = validation_loss(runner, valid_rows, args.batch)
            print(f"step {step}  {elapsed:.0f} s  validation loss {loss:.4f}", flush=True)
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = args.learning_rate * min(step / 200, 1) * (1 - progress)
        if used + args.batch > len(order):
            order, used = torch.randperm(len(train_rows), generator=generator), 0
        rows = train_rows[order[used : used + args.batch].to(device)]
        used += args.batch
        with cast:
            loss = loss_of(runner, rows)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True, help="the .jsonl file of make_corpus.py")
    parser.add_argument("--out", required=True, help="folder for the results")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=128, help="rows of one context each")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--max-seconds", type=float, default=0, help="end early; 0: never")
    parser.add_argument("--report-every", type=int, default=500)
    parser.add_argument("--blocks", type=int, default=Config.block_count)
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = Config(block_count=args.blocks)
    os.makedirs(args.out, exist_ok=True)

    texts = read_corpus(args.corpus)
    # The tokenizer needs far fewer examples than the model.
    tokenizer = train_tokenizer(texts[:20000], config.vocab_size)
    assert tokenizer.get_vocab_size() == config.vocab_size
    tokenizer.save(os.path.join(args.out, "tokenizer.json"))

    encoded = [e.ids for e in tokenizer.encode_batch(texts)]
    print(f"longest document: {max(map(len, encoded))} tokens")
    held_out = max(len(encoded) // 100, 1)
    train_documents, valid_documents = encoded[:-held_out], encoded[-held_out:]
    random.Random(args.seed).shuffle(train_documents)
    length = config.context_length + 1
    model = train(
        args, config, pack(train_documents, length), pack(valid_documents, length), device
    )

    weights = {name: p.detach().half().cpu() for name, p in model.named_parameters()}
    save_file(weights, os.path.join(args.out, "model.safetensors"))
    with open(os.path.join(args.out, "config.json"), "w", encoding="utf-8") as out:
        json.dump(asdict(config), out, indent=2)
    for prompt in PROMPTS:
        print("---\n" + continue_text(model, tokenizer, prompt, 200, device))


if __name__ == "__main__":
    main()
