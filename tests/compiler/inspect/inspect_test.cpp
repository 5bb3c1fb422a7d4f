// inspect: listings that parse and hold what the files hold, a map that fits the plan, and a proof
// that notices every way in which a layout can be wrong.
#include "compiler/inspect/inspect.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "compiler/support/error.h"
#include "tests/support/edited_plan.h"
#include "tests/support/files.h"
#include "tests/support/tiny_plan.h"

namespace jllm::inspect {
namespace {

using nlohmann::json;
using test::EditedPlan;

class Inspect : public testing::Test {
 protected:
  // Runs inspect; what it printed, or "error CODE: message".
  std::string run(InspectOptions options) {
    std::string text;
    llvm::raw_string_ostream out(text);
    if (llvm::Error error = inspect(options, out)) {
      const auto [code, message] = take_error(std::move(error));
      return "error " + std::to_string(static_cast<int>(code)) + ": " + message;
    }
    return out.str();
  }
  InspectOptions plan(const EditedPlan& edited = EditedPlan()) {
    const std::vector<uint8_t> bytes = edited.file();
    InspectOptions options;
    options.path = folder_.file("plan.jllm");
    test::write_file(options.path, bytes.data(), bytes.size());
    return options;
  }
  std::string verify(const EditedPlan& edited) {
    InspectOptions options = plan(edited);
    options.verify = true;
    return run(options);
  }

  test::TempDir folder_;
};

// Two scratch buffers of one graph that are alive at one launch; their indices.
std::pair<size_t, size_t> neighbours(const EditedPlan& edited) {
  const auto& buffers = edited.tables.buffers;
  for (size_t i = 0; i < buffers.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (buffers[i]->graph >= 0 && buffers[i]->graph == buffers[j]->graph &&
          buffers[i]->first_use <= buffers[j]->last_use &&
          buffers[j]->first_use <= buffers[i]->last_use) {
        return {i, j};
      }
    }
  }
  ADD_FAILURE() << "the small plan has no two scratch buffers alive at once";
  return {0, 0};
}

TEST_F(Inspect, PlanAsJsonHoldsTheTables) {
  InspectOptions options = plan();
  options.json = true;
  const json document = json::parse(run(options));
  const EditedPlan edited;
  EXPECT_EQ(document["format"], "jllm");
  EXPECT_EQ(document["model"]["context"], edited.tables.model->context);
  EXPECT_EQ(document["buffers"].size(), edited.tables.buffers.size());
  EXPECT_EQ(document["segments"].size(), edited.tables.segments.size());
  ASSERT_EQ(document["graphs"].size(), edited.tables.graphs.size());
  for (size_t i = 0; i < edited.tables.graphs.size(); ++i) {
    EXPECT_EQ(document["graphs"][i]["launches"].size(), edited.tables.graphs[i]->launches.size());
  }
}

TEST_F(Inspect, PlanAsTextNamesArenasBuffersAndHashes) {
  const std::string text = run(plan());
  const EditedPlan edited;
  for (const char* arena : {"weights", "kv cache", "scratch", "state", "pinned host"}) {
    EXPECT_NE(text.find(arena), std::string::npos) << arena;
  }
  for (const auto& buffer : edited.tables.buffers) {
    EXPECT_NE(text.find(buffer->name), std::string::npos) << buffer->name;
  }
}

TEST_F(Inspect, MapHasALinePerLaunch) {
  InspectOptions options = plan();
  options.map = true;
  const std::string text = run(options);
  const EditedPlan edited;
  size_t launches = 0;
  uint32_t largest = 0;
  for (const auto& graph : edited.tables.graphs) {
    const auto kind = static_cast<int>(graph->kind);
    if (kind == static_cast<int>(fb::GraphKind::Decode)) launches += graph->launches.size();
    if (kind == static_cast<int>(fb::GraphKind::Prefill)) largest = std::max(largest, graph->rows);
  }
  for (const auto& graph : edited.tables.graphs) {
    const bool prefill = static_cast<int>(graph->kind) == static_cast<int>(fb::GraphKind::Prefill);
    if (prefill && graph->rows == largest) launches += graph->launches.size();
  }
  const auto lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  EXPECT_EQ(lines, launches + 2);  // a heading for each of the two graphs
}

TEST_F(Inspect, PictureIsOneClosedSvgWithEveryScratchBuffer) {
  InspectOptions options = plan();
  options.svg_path = folder_.file("map.svg");
  EXPECT_EQ(run(options), "");
  const std::string svg = test::read_text(options.svg_path);
  EXPECT_EQ(svg.rfind("<svg ", 0), 0u);
  EXPECT_NE(svg.find("</svg>\n"), std::string::npos);
  const auto count = [&](const std::string& what) {
    size_t n = 0;
    for (size_t at = svg.find(what); at != std::string::npos; at = svg.find(what, at + 1)) ++n;
    return n;
  };
  EXPECT_EQ(count("<text "), count("</text>"));
  EXPECT_EQ(count("<title>"), count("</title>"));
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST_F(Inspect, VerifyAcceptsASoundPlan) {
  EXPECT_EQ(verify(EditedPlan()).rfind("verified: ", 0), 0u);
}

TEST_F(Inspect, VerifyFindsBuffersThatOverlapWhileAlive) {
  EditedPlan edited;
  const auto [a, b] = neighbours(edited);
  edited.tables.buffers[a]->offset = edited.tables.buffers[b]->offset;
  const std::string result = verify(edited);
  EXPECT_EQ(result.rfind("error 4: ", 0), 0u);
  EXPECT_NE(result.find("overlap while both are alive"), std::string::npos) << result;
}

TEST_F(Inspect, VerifyFindsALaunchBehindTheEndOfItsBuffer) {
  EditedPlan edited;
  // The longest-lived scratch buffer of a graph now dies one launch too early.
  fbedit::BufferT* longest = nullptr;
  for (const auto& buffer : edited.tables.buffers) {
    const bool longer = buffer->graph >= 0 && buffer->last_use > buffer->first_use;
    if (longer && longest == nullptr) longest = buffer.get();
  }
  ASSERT_NE(longest, nullptr);
  longest->last_use -= 1;
  const std::string result = verify(edited);
  EXPECT_NE(result.find("where no buffer is alive"), std::string::npos) << result;
}

TEST_F(Inspect, VerifyFindsAChangedByteInASegment) {
  InspectOptions options = plan();
  std::vector<uint8_t> bytes = test::read_file(options.path);
  bytes[EditedPlan().tables.segments.front()->offset] ^= 1;
  test::write_file(options.path, bytes.data(), bytes.size());
  options.verify = true;
  const std::string result = run(options);
  EXPECT_EQ(result.rfind("error 4: ", 0), 0u);
  EXPECT_NE(result.find("its SHA-256 differs"), std::string::npos) << result;
}

TEST_F(Inspect, GgufListsMetadataAndTensors) {
  InspectOptions options;
  options.path = folder_.file("model.gguf");
  test::make_model(test::tiny_model(), options.path);
  const std::string text = run(options);
  EXPECT_NE(text.find("general.architecture"), std::string::npos);
  EXPECT_NE(text.find("token_embd.weight"), std::string::npos);
  options.json = true;
  const json document = json::parse(run(options));
  EXPECT_EQ(document["metadata"]["general.architecture"], "llama");
  bool found = false;
  for (const json& tensor : document["tensors"]) found |= tensor["name"] == "token_embd.weight";
  EXPECT_TRUE(found);
}

TEST_F(Inspect, PlanOptionsAreRefusedForAGguf) {
  InspectOptions options;
  options.path = folder_.file("model.gguf");
  test::make_model(test::tiny_model(), options.path);
  options.verify = true;
  EXPECT_EQ(run(options).rfind("error 2: ", 0), 0u);
}

TEST_F(Inspect, MissingAndForeignFilesAreNamed) {
  InspectOptions options;
  options.path = folder_.file("absent");
  EXPECT_EQ(run(options).rfind("error 1: ", 0), 0u);
  test::write_text(options.path, "hello");
  EXPECT_EQ(run(options).rfind("error 4: ", 0), 0u);
}

}  // namespace
}  // namespace jllm::inspect
