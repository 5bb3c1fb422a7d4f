#include "tests/e2e/oracle/golden.h"

#include <llvm/ADT/StringExtras.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace jllm::oracle {
namespace {

std::string python() {
  const char* named = std::getenv("JLLM_ORACLE_PYTHON");
  return named != nullptr ? named : "python3";
}

bool run(const std::string& command) { return std::system(command.c_str()) == 0; }

}  // namespace

std::string why_not_anew() {
  const char* wanted = std::getenv("JLLM_ORACLE");
  if (wanted == nullptr || std::string(wanted) != "1") return "JLLM_ORACLE=1 is not set";
  if (run("'" + python() + "' -c 'import llama_cpp, numpy' 2>/dev/null")) return "";
  return python() + " has no llama_cpp (JLLM_ORACLE_PYTHON names another)";
}

bool make_goldens(const std::string& models, const std::string& out, bool embeddings) {
  return run("'" + python() + "' '" JLLM_GOLDEN_DIR "/make_llama_logits.py' '" + models + "' '" +
             out + "' " + (embeddings ? "embeddings" : "") + " > /dev/null 2>&1");
}

Golden read_golden(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error(path + ": cannot be read");
  const nlohmann::json json = nlohmann::json::parse(in);
  Golden golden;
  golden.model_sha256 = json.at("model_sha256");
  golden.tokens = json.at("tokens").get<std::vector<uint32_t>>();
  for (const nlohmann::json& entry : json.at(json.contains("logits") ? "logits" : "embeddings")) {
    const std::string bytes = llvm::fromHex(entry.at("f32").get<std::string>());
    std::vector<float>& logits = golden.logits[entry.at("position")];
    logits.resize(bytes.size() / sizeof(float));
    std::memcpy(logits.data(), bytes.data(), logits.size() * sizeof(float));
  }
  if (golden.tokens.empty() || golden.logits.empty()) throw std::runtime_error(path + ": is empty");
  return golden;
}

double nmse(const std::vector<float>& expected, const std::vector<float>& got) {
  if (expected.size() != got.size()) throw std::runtime_error("rows of different lengths");
  double error = 0, power = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double difference = double{got[i]} - double{expected[i]};
    error += difference * difference;
    power += double{expected[i]} * double{expected[i]};
  }
  return error / power;
}

}  // namespace jllm::oracle
