#include "tools/jllm/serve/embedding_api.h"

#include <cstring>

#include "tools/jllm/embedding_vector.h"
#include "tools/jllm/serve/base64.h"
#include "tools/jllm/serve/json_members.h"

namespace jllm::serve {
namespace {

constexpr size_t kMostInputs = 2048;  // as OpenAI's own

bool is_token(const Json& json) {
  return json.is_number_unsigned() && json.get<uint64_t>() <= UINT32_MAX;
}

EmbeddingRequest::Input read_input(const Json& json) {
  if (json.is_string()) {
    std::string text = json.get<std::string>();
    if (text.empty()) refuse("input", "has an empty string");
    return text;
  }
  if (!json.is_array() || json.empty()) refuse("input", "must have strings or arrays of tokens");
  std::vector<uint32_t> tokens;
  for (const Json& token : json) {
    if (!is_token(token)) refuse("input", "has an array that is not of tokens");
    tokens.push_back(token.get<uint32_t>());
  }
  return tokens;
}

std::string base64_of(const std::vector<float>& vector) {
  std::vector<uint8_t> bytes;
  bytes.reserve(vector.size() * sizeof(float));
  for (const float value : vector) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    for (int shift = 0; shift < 32; shift += 8)
      bytes.push_back(static_cast<uint8_t>(bits >> shift));
  }
  return base64(bytes.data(), bytes.size());
}

}  // namespace

EmbeddingRequest parse_embedding_request(std::string_view body, uint32_t length) {
  const Json json = parse_body(body);
  const Members members(json);
  EmbeddingRequest request;
  request.model = members.text("model");
  const std::string format = members.text("encoding_format", "float");
  if (format != "float" && format != "base64") {
    refuse("encoding_format", "must be float or base64");
  }
  request.base64 = format == "base64";
  request.dimensions = static_cast<uint32_t>(members.integer("dimensions", 0, 1, length));
  const Json* input = members.find("input");
  if (input == nullptr) refuse("input", "is missing");
  const bool is_list = input->is_array() && !input->empty() && !input->front().is_number();
  if (!is_list) {
    request.inputs.push_back(read_input(*input));
    return request;
  }
  if (input->size() > kMostInputs) {
    refuse("input", "may have " + std::to_string(kMostInputs) + " texts at most");
  }
  for (const Json& one : *input) request.inputs.push_back(read_input(one));
  return request;
}

std::string embeddings_json(const std::vector<std::vector<float>>& vectors, bool base64,
                            const std::string& model, uint64_t tokens) {
  // Put together by hand: numbers of f32 take half as many digits as a JSON library's doubles.
  std::string text = R"({"object":"list","data":[)";
  for (size_t i = 0; i < vectors.size(); ++i) {
    if (i > 0) text += ',';
    text += R"({"object":"embedding","index":)" + std::to_string(i) + R"(,"embedding":)";
    if (base64) {
      text += '"';
      text += base64_of(vectors[i]);
      text += '"';
    } else {
      text += '[';
      tool::append_numbers(vectors[i], ',', &text);
      text += ']';
    }
    text += '}';
  }
  const std::string count = std::to_string(tokens);
  return text + R"(],"model":)" + dump(Json(model)) + R"(,"usage":{"prompt_tokens":)" + count +
         R"(,"total_tokens":)" + count + "}}";
}

}  // namespace jllm::serve
