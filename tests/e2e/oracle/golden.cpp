#include "tests/e2e/oracle/golden.h"

#include <llvm/ADT/StringExtras.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace jllm::oracle {

Golden read_golden(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error(path + ": cannot be read");
  const nlohmann::json json = nlohmann::json::parse(in);
  Golden golden;
  golden.model_sha256 = json.at("model_sha256");
  golden.tokens = json.at("tokens").get<std::vector<uint32_t>>();
  for (const nlohmann::json& entry : json.at("logits")) {
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
