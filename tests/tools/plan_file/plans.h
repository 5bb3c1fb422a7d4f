// Plans of a tiny model as files, whole and split, for the tests of what opens and moves them.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/support/files.h"
#include "tools/plan_file/plan_file.h"

namespace jllm::test {

struct PlanOptionsOf {
  bool split = false;
  uint32_t context = 64;
  uint64_t seed = 0;  // of the weights
};

// Compiles to `path`. The model's file is called model.gguf whatever its seed.
void make_plan_file(const std::string& path, const PlanOptionsOf& options);

// Path of the one weight file in the folder.
std::string weight_file_in(const TempDir& folder);

// Changes one byte.
void flip(const std::string& path, uint64_t offset);

// The exit code and the message of what `work` throws; kDone where it throws nothing.
struct Outcome {
  tool::ExitCode code = tool::kDone;
  std::string message;
};
Outcome outcome_of(const std::function<void()>& work);
void expect_refusal(const Outcome& outcome, tool::ExitCode code, const std::string& words);

// The tokens that the plan generates by itself from the start, loaded as the programs load it.
std::vector<uint32_t> generate(const tool::PlanPaths& paths);

}  // namespace jllm::test
