// Public vocabularies of the folder JLLM_TEST_DATA.
#pragma once

#include <string>

#include "tests/text/vocabulary_maker.h"

namespace jllm::text {

std::string data_folder();  // empty when JLLM_TEST_DATA is not set

#define REQUIRE_TEST_DATA() \
  if (data_folder().empty()) GTEST_SKIP() << "JLLM_TEST_DATA is not set"

// The names of the vocabularies that are there as vocab/ggml-vocab-NAME.gguf.
inline constexpr const char* kVocabularyFiles[] = {"llama-spm", "phi-3", "gpt-2", "falcon",
                                                   "starcoder"};
std::string vocabulary_path(const std::string& name);

// Those that are there in the format of their makers.
VocabularyMaker llama3();
VocabularyMaker qwen2();

}  // namespace jllm::text
