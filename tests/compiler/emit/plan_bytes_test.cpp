// The bytes of plans: weights are what the model holds, in the place that the tables name; segments
// carry their digests; equal inputs give equal bytes. CUDA plans get made-up code, so no NVRTC is
// needed.
#include <gtest/gtest.h>
#include <llvm/Support/SHA256.h>

#include <cmath>
#include <cstring>

#include "compiler/emit/plan_writer.h"
#include "compiler/gguf/quants.h"
#include "executor/src/host/products.h"
#include "kernels/reference/reference.h"
#include "schema/panel_layout.h"
#include "schema/row_layout.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"
#include "tests/support/files.h"
#include "tests/support/running_plan.h"

namespace jllm::emit {
namespace {

using gguf::value_of;

// 256 wide, so that every type's blocks fit; a norm in F16 and a bias take the constants' ways.
TinyLlama tiny_of(WeightType type) {
  TinyLlama tiny;
  tiny.embedding = 256;
  tiny.ffn = 512;
  tiny.heads = 16;
  tiny.type = type;
  tiny.tied = false;
  tiny.qkv_bias = true;
  tiny.types = {{"output_norm.weight", WeightType::kF16}};
  return tiny;
}

// A model, its plan's bytes and the proved view of them.
struct Emitted {
  Emitted(const TinyLlama& tiny, target::Target target, const std::string& name = "plan",
          select::ActivationMode activations = select::ActivationMode::kAuto)
      : file(write_and_open(tiny, folder.file("m.gguf"))), path(folder.file(name)) {
    PlanOptions options;
    options.context = 64;
    options.prefill_chunk = 16;
    options.select.activations = activations;
    planned = value_of(plan_model(file, target, options));
    if (!target.is_host) {
      for (size_t i = 0; i < planned.schedule.kernels.size(); ++i) {
        modules.emplace_back(100 + 1000 * i, static_cast<uint8_t>(i + 1));
      }
    }
    PlanInputs inputs;
    inputs.planned = &planned;
    inputs.modules = &modules;
    inputs.tokenizer = {'t', 'o', 'k'};
    inputs.end_tokens = {2, 7};
    inputs.options = {"a=b"};
    inputs.progress = [&](uint64_t done, uint64_t total) {
      EXPECT_GE(done, last_done);
      EXPECT_LE(done, total);
      last_done = done;
      last_total = total;
    };
    sizes = value_of(write_plan(inputs, path));
    bytes = test::read_file(path);
    plan = std::make_unique<test::PlanInMemory>(bytes);
    if (plan->error != Error::kOk) throw std::runtime_error(plan->message);
  }

  const fb::Plan& tables() const { return plan->view().plan(); }
  const fb::Buffer& buffer(const std::string& name) const {
    for (const fb::Buffer* b : *tables().buffers()) {
      if (b->name()->str() == name) return *b;
    }
    throw std::runtime_error("no buffer " + name);
  }
  // The bytes of a weight or constant, found through tables alone.
  std::vector<uint8_t> contents(const std::string& name) const {
    const fb::Buffer& b = buffer(name);
    for (const fb::Segment* s : *tables().segments()) {
      if (s->kind() != fb::SegmentKind::Weights || s->dest_arena() != b.arena()) continue;
      const auto* start = bytes.data() + s->offset() + (b.offset() - s->dest_offset());
      return {start, start + b.size()};
    }
    throw std::runtime_error("no segment for " + name);
  }

  gguf::TempFolder folder;
  gguf::File file;
  std::string path;
  PlannedModel planned;
  std::vector<std::vector<uint8_t>> modules;
  PlanSizes sizes;
  std::vector<uint8_t> bytes;
  std::unique_ptr<test::PlanInMemory> plan;
  uint64_t last_done = 0, last_total = 0;
};

target::Target host() { return value_of(target::find("host")); }
target::Target cuda() { return value_of(target::find("h200")); }

std::vector<float> floats(const std::vector<uint8_t>& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

std::vector<float> dequantised(const gguf::File& file, const gguf::TensorInfo& tensor) {
  std::vector<float> values(tensor.elements());
  gguf::dequantise(tensor.type(), file.data(tensor).data(), values.data(), values.size());
  return values;
}

class PlanBytes : public testing::TestWithParam<WeightType> {};

// With f32 activations the host reads weights as the model holds them.
TEST_P(PlanBytes, ExactHostPlansHoldTheModelsBlocks) {
  const Emitted e(tiny_of(GetParam()), host(), "plan", select::ActivationMode::kF32);
  size_t matrices = 0;
  for (const gguf::TensorInfo& tensor : e.file.tensors()) {
    SCOPED_TRACE(tensor.name);
    const std::vector<uint8_t> got = e.contents(tensor.name);
    if (tensor.shape.size() == 2) {
      const auto expected = e.file.data(tensor);
      ASSERT_EQ(got, std::vector<uint8_t>(expected.begin(), expected.end()));
      ++matrices;
    } else {
      ASSERT_EQ(floats(got), dequantised(e.file, tensor));
    }
  }
  EXPECT_EQ(matrices, 2u + 2 * 7);
}

// One matrix of the file is three of the plan, each with its own rows; so is its bias.
TEST_P(PlanBytes, PartsOfAMatrixAreItsRows) {
  TinyLlama tiny = tiny_of(GetParam());
  tiny.fused_qkv = true;  // 16 heads and twice 2 heads of 16
  const Emitted e(tiny, host(), "plan", select::ActivationMode::kF32);
  const gguf::TensorInfo* matrix = e.file.find_tensor("blk.1.attn_qkv.weight");
  const gguf::TensorInfo* bias = e.file.find_tensor("blk.1.attn_qkv.bias");
  ASSERT_NE(matrix, nullptr);
  ASSERT_NE(bias, nullptr);
  const llvm::ArrayRef<uint8_t> rows = e.file.data(*matrix);
  const std::vector<float> biases = dequantised(e.file, *bias);
  const size_t row = rows.size() / 320;
  for (const auto& [part, first, count] : {std::tuple("[0:256]", size_t{0}, size_t{256}),
                                           {"[256:288]", 256, 32},
                                           {"[288:320]", 288, 32}}) {
    const llvm::ArrayRef<uint8_t> expected = rows.slice(first * row, count * row);
    EXPECT_EQ(e.contents(matrix->name + part),
              std::vector<uint8_t>(expected.begin(), expected.end()))
        << part;
    const auto start = biases.begin() + std::ptrdiff_t(first);
    EXPECT_EQ(floats(e.contents(bias->name + part)),
              std::vector<float>(start, start + std::ptrdiff_t(count)))
        << part;
  }
}

// Otherwise it multiplies quantised ones as integers, in panels; the embedding is no factor here.
TEST_P(PlanBytes, HostPlansHoldTheSameValuesInPanels) {
  const Emitted e(tiny_of(GetParam()), host());
  size_t in_panels = 0;
  for (const gguf::TensorInfo& tensor : e.file.tensors()) {
    if (tensor.shape.size() != 2) continue;
    SCOPED_TRACE(tensor.name);
    const std::vector<uint8_t> got = e.contents(tensor.name);
    if (!has_panels(tensor.type()) || tensor.name == "token_embd.weight") {
      const auto expected = e.file.data(tensor);
      ASSERT_EQ(got, std::vector<uint8_t>(expected.begin(), expected.end()));
      continue;
    }
    ++in_panels;
    const std::vector<float> expected = dequantised(e.file, tensor);
    const uint64_t cols = tensor.shape[0];
    ASSERT_EQ(got.size(), panel_count(tensor.shape[1]) * panel_bytes(tensor.type(), cols));
    std::vector<float> row(cols);
    for (uint64_t i = 0; i < tensor.shape[1]; ++i) {
      host::decode_panel_row(tensor.type(), got.data(), i, cols, row.data());
      ASSERT_TRUE(std::equal(row.begin(), row.end(), expected.begin() + i * cols)) << "row " << i;
    }
  }
  EXPECT_EQ(in_panels, has_panels(GetParam()) ? 1u + 2 * 7 : 0u);
}

TEST_P(PlanBytes, DevicePlansHoldTheSameValuesInRows) {
  const Emitted e(tiny_of(GetParam()), cuda());
  for (const gguf::TensorInfo& tensor : e.file.tensors()) {
    SCOPED_TRACE(tensor.name);
    const std::vector<uint8_t> got = e.contents(tensor.name);
    const std::vector<float> expected = dequantised(e.file, tensor);
    if (tensor.shape.size() != 2) {
      ASSERT_EQ(floats(got), expected);
      continue;
    }
    const uint64_t cols = tensor.shape[0];
    const auto type = static_cast<unsigned>(tensor.type());
    const uint64_t stride = row_layout(type, cols).stride;
    ASSERT_EQ(got.size(), stride * tensor.shape[1]);
    for (uint64_t row = 0; row < tensor.shape[1]; ++row) {
      const std::span<const uint8_t> packed(got.data() + row * stride, stride);
      const reference::Vector values = reference::dequantise_row(type, packed, cols);
      ASSERT_TRUE(std::equal(values.begin(), values.end(), expected.begin() + row * cols))
          << "row " << row;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, PlanBytes,
                         testing::Values(WeightType::kF32, WeightType::kF16, WeightType::kBF16,
                                         WeightType::kQ4_0, WeightType::kQ4_1, WeightType::kQ5_0,
                                         WeightType::kQ5_1, WeightType::kQ8_0, WeightType::kQ4_K,
                                         WeightType::kQ5_K, WeightType::kQ6_K, WeightType::kQ1_0,
                                         WeightType::kQ2_K, WeightType::kQ3_K, WeightType::kIQ4_NL,
                                         WeightType::kIQ4_XS, WeightType::kMXFP4,
                                         WeightType::kTQ2_0, WeightType::kQ2_0),
                         [](const auto& test) { return weight_type_name(test.param); });

TEST(Plan, ComputedConstantsAreThere) {
  const Emitted e(tiny_of(WeightType::kF32), host());
  const std::vector<float> frequencies = floats(e.contents("rope_frequencies"));
  ASSERT_EQ(frequencies.size(), 8u);
  EXPECT_EQ(frequencies[0], 1.0f);
  EXPECT_EQ(frequencies, value_of(model::make_rope(e.planned.model, 64)).frequencies);
}

TEST(Plan, SegmentsAreAlignedAndCarryTheirDigests) {
  for (const target::Target& target : {host(), cuda()}) {
    const Emitted e(tiny_of(WeightType::kQ4_0), target);
    uint64_t end = 0;
    for (const fb::Segment* s : *e.tables().segments()) {
      EXPECT_EQ(s->offset() % 4096, 0u);
      EXPECT_GE(s->offset(), end);
      end = s->offset() + s->size();
      ASSERT_LE(end, e.bytes.size());
      llvm::SHA256 hash;
      hash.update(llvm::ArrayRef<uint8_t>(e.bytes.data() + s->offset(), s->size()));
      ASSERT_EQ(s->sha256()->size(), 32u);
      const std::string digest(reinterpret_cast<const char*>(s->sha256()->data()), 32);
      const auto expected = hash.final();
      EXPECT_EQ(digest, std::string(reinterpret_cast<const char*>(expected.data()), 32));
    }
    EXPECT_EQ(e.bytes.size() % 4096, 0u);
    EXPECT_EQ(e.sizes.file_bytes, e.bytes.size());
  }
}

TEST(Plan, BytesBetweenBuffersAndSegmentsAreZero) {
  const Emitted e(tiny_of(WeightType::kQ6_K), cuda());
  std::vector<bool> used(e.bytes.size(), false);
  const auto mark = [&](uint64_t offset, uint64_t size) {
    std::fill(used.begin() + offset, used.begin() + offset + size, true);
  };
  mark(0, e.plan->view().prefix().plan_offset + e.plan->view().prefix().plan_size);
  for (const fb::Segment* s : *e.tables().segments()) {
    if (s->kind() != fb::SegmentKind::Weights) {
      mark(s->offset(), s->size());
      continue;
    }
    for (const fb::Buffer* b : *e.tables().buffers()) {
      if (b->arena() == s->dest_arena()) mark(s->offset() + b->offset(), b->size());
    }
  }
  for (size_t i = 0; i < used.size(); ++i) {
    ASSERT_TRUE(used[i] || e.bytes[i] == 0) << "at " << i;
  }
}

TEST(Plan, ArenasAreTheLayouts) {
  for (const target::Target& target : {host(), cuda()}) {
    const Emitted e(tiny_of(WeightType::kQ8_0), target);
    const memory::Layout& layout = e.planned.layout;
    ASSERT_EQ(e.tables().arenas()->size(), layout.arenas.size());
    for (uint32_t i = 0; i < layout.arenas.size(); ++i) {
      EXPECT_EQ(e.tables().arenas()->Get(i)->size(), layout.arenas[i].size);
      EXPECT_EQ(int(e.tables().arenas()->Get(i)->kind()), int(layout.arenas[i].kind));
    }
    const uint64_t device = e.plan->view().arena_bytes(fb::ArenaKind::Weights) +
                            e.plan->view().arena_bytes(fb::ArenaKind::Kv) +
                            e.plan->view().arena_bytes(fb::ArenaKind::Scratch) +
                            e.plan->view().arena_bytes(fb::ArenaKind::State);
    EXPECT_EQ(device, layout.device_bytes());
    EXPECT_EQ(e.sizes.weight_bytes, layout.total(memory::ArenaKind::kWeights));
    EXPECT_EQ(e.last_done, e.sizes.weight_bytes);
    EXPECT_EQ(e.last_total, e.sizes.weight_bytes);
  }
}

TEST(Plan, SeveralWeightsArenasAreSeveralSegments) {
  target::Target target = host();
  target.largest_allocation = 600000;  // the embedding and the output take 524,288 bytes each
  const Emitted split(tiny_of(WeightType::kF32), target);
  size_t segments = 0;
  for (const fb::Segment* s : *split.tables().segments()) {
    if (s->kind() != fb::SegmentKind::Weights) continue;
    ++segments;
    EXPECT_EQ(s->size(), split.tables().arenas()->Get(s->dest_arena())->size());
    EXPECT_LE(s->size(), target.largest_allocation);
  }
  EXPECT_GE(segments, 3u);
  for (const gguf::TensorInfo& tensor : split.file.tensors()) {
    if (tensor.shape.size() != 2) continue;
    const auto expected = split.file.data(tensor);
    EXPECT_EQ(split.contents(tensor.name), std::vector<uint8_t>(expected.begin(), expected.end()))
        << tensor.name;
  }
}

TEST(Plan, CodeAndTokenizerAreWhatWasGiven) {
  const Emitted e(tiny_of(WeightType::kF16), cuda());
  const auto segment_bytes = [&](const fb::Segment& s) {
    return std::vector<uint8_t>(e.bytes.begin() + s.offset(),
                                e.bytes.begin() + s.offset() + s.size());
  };
  uint64_t code = 0;
  for (uint32_t i = 0; i < e.tables().kernels()->size(); ++i) {
    const fb::Kernel& kernel = *e.tables().kernels()->Get(i);
    ASSERT_GE(kernel.module_segment(), 0);
    const fb::Segment& s = *e.tables().segments()->Get(kernel.module_segment());
    EXPECT_EQ(segment_bytes(s), e.modules[i]);
    EXPECT_EQ(kernel.name()->str(), e.planned.schedule.kernels[i].name);
    code += s.size();
  }
  EXPECT_EQ(e.sizes.code_bytes, code);
  EXPECT_EQ(e.tables().requirements()->code_bytes(), code);
  const fb::Segment* tokenizer = e.plan->view().find_segment(fb::SegmentKind::Tokenizer);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(segment_bytes(*tokenizer), (std::vector<uint8_t>{'t', 'o', 'k'}));
  ASSERT_EQ(e.tables().end_tokens()->size(), 2u);
  EXPECT_EQ(e.tables().end_tokens()->Get(1), 7u);
  EXPECT_EQ(e.tables().provenance()->options()->Get(0)->str(), "a=b");
  EXPECT_EQ(e.tables().provenance()->source_name()->str(), "m.gguf");
}

// Neither the folder, nor the file's name, nor the time shows.
TEST(Plan, EqualInputsGiveEqualBytes) {
  for (const target::Target& target : {host(), cuda()}) {
    const Emitted a(tiny_of(WeightType::kQ4_K), target, "one");
    const Emitted b(tiny_of(WeightType::kQ4_K), target, "another");
    EXPECT_EQ(a.bytes, b.bytes);
    TinyLlama other = tiny_of(WeightType::kQ4_K);
    other.seed = 2;
    EXPECT_NE(Emitted(other, target).bytes, a.bytes);
  }
}

TEST(Plan, WeightsReadPerTokenCountOneRowOfTheEmbedding) {
  TinyLlama tiny = tiny_of(WeightType::kQ8_0);  // 34 bytes for 32 weights
  const auto matrix = [](uint64_t weights) { return weights / 32 * 34; };
  const uint64_t layers =
      2 * (2 * matrix(256 * 256) + 2 * matrix(32 * 256) + 3 * matrix(512 * 256));
  const uint64_t row = matrix(256), output = matrix(512 * 256);
  const Emitted untied(tiny, host());
  EXPECT_EQ(weights_read_per_token(untied.planned.program, true), layers + row + output);
  tiny.tied = true;  // read as a row and as the output matrix
  const Emitted tied(tiny, host());
  EXPECT_EQ(weights_read_per_token(tied.planned.program, true), layers + row + output);
  EXPECT_EQ(tied.tables().model()->weights_read_per_token(), layers + row + output);
}

TEST(Plan, AnUnwritablePathIsAnError) {
  const Emitted e(tiny_of(WeightType::kF32), host());
  PlanInputs inputs;
  inputs.planned = &e.planned;
  inputs.modules = &e.modules;
  llvm::Expected<PlanSizes> sizes = write_plan(inputs, e.folder.file("no/folder/plan"));
  ASSERT_FALSE(sizes);
  const auto [code, text] = take_error(sizes.takeError());
  EXPECT_EQ(code, ExitCode::kFailed);
  EXPECT_NE(text.find("cannot create"), std::string::npos) << text;
}

}  // namespace
}  // namespace jllm::emit
