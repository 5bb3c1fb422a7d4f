#!/usr/bin/env python3
"""Prints the token ids that llama.cpp gives for texts: one line per text with control tokens as
plain text, and one with them parsed. Needs: pip install llama-cpp-python.

Usage: llama_cpp_tokens.py VOCABULARY.gguf TEXTS      TEXTS: one text per line, in hexadecimal digits
"""
import ctypes
import os
import sys

import llama_cpp


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silence, ctypes.c_void_p())
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(os.fsencode(sys.argv[1]), parameters)
    if not model:
        raise SystemExit(f"{sys.argv[1]}: llama.cpp does not load it")
    vocabulary = llama_cpp.llama_model_get_vocab(model)
    ends = [i for i in range(llama_cpp.llama_vocab_n_tokens(vocabulary))
            if llama_cpp.llama_vocab_is_eog(vocabulary, i)]
    print(*ends)
    for line in open(sys.argv[2], encoding="ascii"):
        text = bytes.fromhex(line.strip())
        ids = (llama_cpp.llama_token * (len(text) + 8))()
        for parse_special in (False, True):
            count = llama_cpp.llama_tokenize(
                vocabulary, text, len(text), ids, len(ids), True, parse_special)
            print(*ids[:count])


if __name__ == "__main__":
    main()
