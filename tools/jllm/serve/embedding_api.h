// /v1/embeddings of OpenAI's API: what a request asks for, and the vectors as it answers them.
// Knows neither sockets nor models.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace jllm::serve {

struct EmbeddingRequest {
  using Input = std::variant<std::string, std::vector<uint32_t>>;  // a text, or its tokens

  std::string model;          // empty: the one there is
  std::vector<Input> inputs;  // at least one, none of them empty
  bool base64 = false;        // instead of numbers: the bytes of little-endian f32
  uint32_t dimensions = 0;    // the first so many only; 0: all
};

// Throws ApiError. `length`: floats of the plan's vectors.
EmbeddingRequest parse_embedding_request(std::string_view body, uint32_t length);

std::string embeddings_json(const std::vector<std::vector<float>>& vectors, bool base64,
                            const std::string& model, uint64_t tokens);

}  // namespace jllm::serve
