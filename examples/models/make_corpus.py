#!/usr/bin/env python3
"""Writes the training text: one JSON line per document, all of it generated here.

    python make_corpus.py --out corpus.jsonl [--documents 400000] [--seed 1]

A document is {"text": "..."} or {"chat": [["user", "..."], ["assistant", "..."], ...]}. Each one
depends on the seed and on its own number only, so the work can be split over processes and the
result stays the same.
"""

import argparse
import json
import multiprocessing
import os
import random

from corpus.chat import chat
from corpus.plots import tell_story


def document(job):
    seed, number = job
    rng = random.Random(f"{seed}/{number}")
    if rng.random() < 0.55:
        return json.dumps({"text": tell_story(rng).text()})
    return json.dumps({"chat": chat(rng)})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="the .jsonl file to write")
    parser.add_argument("--documents", type=int, default=400000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()

    jobs = ((args.seed, number) for number in range(args.documents))
    size = 0
    with multiprocessing.Pool(args.processes) as pool, open(args.out, "w", encoding="utf-8") as out:
        for line in pool.imap(document, jobs, chunksize=500):
            out.write(line + "\n")
            size += len(line) + 1
    print(f"{args.documents} documents, {size / 1e6:.1f} MB in {args.out}")


if __name__ == "__main__":
    main()
