// Ed25519 signatures of plans, by libsodium; with JLLM_SIGNATURES=OFF each of these is a Failure
// that says so. Keys are text files of one line each: "jllm-public-key-1 HEX", "jllm-secret-key-1
// HEX".
#pragma once

#include <cstdint>
#include <string>

#include "schema/prefix.h"

namespace jllm::tool {

// Whether this program was built with JLLM_SIGNATURES.
bool can_sign();

// Throws Failure unless one of the keys in `key_file` has signed this head. `path` is for messages.
void check_signature(const std::string& path, const uint8_t* head, uint64_t head_size,
                     const SignatureBlock& block, const std::string& key_file);

// Writes NAME.key (secret, readable by its owner alone) and NAME.pub; neither may exist.
void make_keys(const std::string& name);

// The signature of a head whose prefix says that it is signed.
SignatureBlock sign_head(const uint8_t* head, uint64_t head_size, const std::string& key_file);

}  // namespace jllm::tool
