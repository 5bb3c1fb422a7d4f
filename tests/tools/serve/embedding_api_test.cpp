// /v1/embeddings: requests read from JSON, and what is answered.
#include "tools/jllm/serve/embedding_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "tools/jllm/embedding_vector.h"
#include "tools/jllm/serve/api.h"

namespace jllm::serve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Input = EmbeddingRequest::Input;
using Tokens = std::vector<uint32_t>;

constexpr uint32_t kLength = 8;

EmbeddingRequest parse(const std::string& body) { return parse_embedding_request(body, kLength); }

void expect_refusal(const std::string& body, const std::string& param, const std::string& words) {
  try {
    parse(body);
    ADD_FAILURE() << "taken: " << body;
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status, 400);
    EXPECT_EQ(error.param, param) << body;
    EXPECT_THAT(error.message, HasSubstr(words));
  }
}

TEST(EmbeddingApi, InputsAreTextsOrTokensOneOrMany) {
  EXPECT_THAT(parse(R"({"input": "a"})").inputs, ElementsAre(Input("a")));
  EXPECT_THAT(parse(R"({"input": ["a", "b"]})").inputs, ElementsAre(Input("a"), Input("b")));
  EXPECT_THAT(parse(R"({"input": [1, 2]})").inputs, ElementsAre(Input(Tokens{1, 2})));
  EXPECT_THAT(parse(R"({"input": [[1, 2], [3]]})").inputs,
              ElementsAre(Input(Tokens{1, 2}), Input(Tokens{3})));
  EXPECT_THAT(parse(R"({"input": ["a", [3]]})").inputs, ElementsAre(Input("a"), Input(Tokens{3})));
}

TEST(EmbeddingApi, TheOtherMembers) {
  const EmbeddingRequest plain = parse(R"({"input": "a", "user": "me"})");
  EXPECT_TRUE(plain.model.empty());
  EXPECT_FALSE(plain.base64);
  EXPECT_EQ(plain.dimensions, 0u);
  const EmbeddingRequest all =
      parse(R"({"input": "a", "model": "m", "encoding_format": "base64", "dimensions": 8})");
  EXPECT_EQ(all.model, "m");
  EXPECT_TRUE(all.base64);
  EXPECT_EQ(all.dimensions, 8u);
  EXPECT_FALSE(parse(R"({"input": "a", "encoding_format": "float"})").base64);
}

TEST(EmbeddingApi, WhatIsWrongIsNamed) {
  expect_refusal(R"({"model": "m"})", "input", "is missing");
  expect_refusal(R"({"input": ""})", "input", "empty string");
  expect_refusal(R"({"input": ["a", ""]})", "input", "empty string");
  expect_refusal(R"({"input": []})", "input", "must have");
  expect_refusal(R"({"input": [[]]})", "input", "must have");
  expect_refusal(R"({"input": 3})", "input", "must have");
  expect_refusal(R"({"input": ["a", 3]})", "input", "must have");
  expect_refusal(R"({"input": [3, "a"]})", "input", "not of tokens");
  expect_refusal(R"({"input": [-1]})", "input", "not of tokens");
  expect_refusal(R"({"input": [4294967296]})", "input", "not of tokens");
  expect_refusal(R"({"input": "a", "encoding_format": "f16"})", "encoding_format", "base64");
  expect_refusal(R"({"input": "a", "dimensions": 0})", "dimensions", "from 1 to 8");
  expect_refusal(R"({"input": "a", "dimensions": 9})", "dimensions", "from 1 to 8");
  expect_refusal(R"({"input": "a")", "", "not valid JSON");
  nlohmann::json many = {{"input", std::vector<std::string>(2048, "a")}};
  EXPECT_EQ(parse(many.dump()).inputs.size(), 2048u);
  many["input"].push_back("a");
  expect_refusal(many.dump(), "input", "2048");
}

TEST(EmbeddingApi, VectorsHaveTheLengthOne) {
  std::vector<float> vector = {3, 0, -4};
  EXPECT_TRUE(tool::normalise(&vector, 0));
  EXPECT_THAT(vector, ElementsAre(0.6f, 0.0f, -0.8f));
  // The first of them, scaled anew.
  vector = {3, 4, 12};
  EXPECT_TRUE(tool::normalise(&vector, 2));
  EXPECT_THAT(vector, ElementsAre(0.6f, 0.8f));
  vector = {1e-30f, 0};
  EXPECT_TRUE(tool::normalise(&vector, 2));
  EXPECT_THAT(vector, ElementsAre(1.0f, 0.0f));
  for (const float bad : {0.0f, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    vector = {bad, 0};
    EXPECT_FALSE(tool::normalise(&vector, 0)) << bad;
  }
}

TEST(EmbeddingApi, Replies) {
  const std::vector<std::vector<float>> vectors = {{0.1f, -0.25f}, {1, 0}};
  const nlohmann::json json = nlohmann::json::parse(embeddings_json(vectors, false, "a \"b\"", 7));
  EXPECT_EQ(json, nlohmann::json::parse(R"({
      "object": "list", "model": "a \"b\"", "usage": {"prompt_tokens": 7, "total_tokens": 7},
      "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -0.25]},
               {"object": "embedding", "index": 1, "embedding": [1, 0]}]})"));
  // As many digits as bring the same f32 back.
  EXPECT_EQ(json["data"][0]["embedding"][0].get<float>(), 0.1f);
}

TEST(EmbeddingApi, Base64IsOfTheBytesOfLittleEndianFloats) {
  // 1.0 is 00 00 80 3f; the three ways that a group of three bytes may end.
  const std::pair<std::vector<float>, const char*> cases[] = {
      {{1}, "AACAPw=="},
      {{1, -2}, "AACAPwAAAMA="},
      {{1, -2, 0.5f}, "AACAPwAAAMAAAAA/"},
  };
  for (const auto& [vector, text] : cases) {
    const nlohmann::json json = nlohmann::json::parse(embeddings_json({vector}, true, "m", 1));
    EXPECT_EQ(json["data"][0]["embedding"], text);
  }
}

}  // namespace
}  // namespace jllm::serve
