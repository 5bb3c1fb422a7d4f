// Logits of llama.cpp as tests/golden/make_llama_logits.py stores them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace jllm::oracle {

struct Golden {
  std::string model_sha256;  // of the GGUF that llama.cpp ran
  std::vector<uint32_t> tokens;
  // By position; or the embeddings of the tokens up to there.
  std::map<uint32_t, std::vector<float>> logits;
};

// Throws std::runtime_error when the file cannot be read or is no golden.
Golden read_golden(const std::string& path);

// Sum of squared differences over the sum of squares of `expected`.
double nmse(const std::vector<float>& expected, const std::vector<float>& got);

// --- making goldens anew ---

// Why llama.cpp is not asked again: JLLM_ORACLE is not 1, or there is no Python that has it
// (JLLM_ORACLE_PYTHON names one). Empty: it can be.
std::string why_not_anew();

// Runs tests/golden/make_llama_logits.py.
bool make_goldens(const std::string& models, const std::string& out, bool embeddings = false);

}  // namespace jllm::oracle
