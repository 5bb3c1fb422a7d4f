// LoRA adapters: what is refused and how, and what is added to the rows of a tensor.
#include "compiler/gguf/adapter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "compiler/gguf/quants.h"
#include "compiler/gguf/requantise.h"
#include "compiler/gguf/writer.h"
#include "tests/compiler/gguf/raw_gguf.h"

namespace jllm::gguf {
namespace {

constexpr uint64_t kIn = 64, kOut = 48, kExperts = 3, kRank = 4;
constexpr char kMatrix[] = "blk.0.attn_q.weight", kStack[] = "blk.0.ffn_up_exps.weight";

std::vector<float> random_values(uint64_t count, uint64_t seed) {
  std::mt19937 random(static_cast<uint32_t>(seed));
  std::vector<float> values(count);
  for (float& value : values) value = float(random()) / 4294967296.0f - 0.5f;
  return values;
}

std::vector<uint8_t> encoded(const std::vector<float>& values, WeightType type = WeightType::kF32) {
  const BlockShape block = block_shape(type);
  std::vector<uint8_t> bytes(values.size() / block.elements * block.bytes);
  quantise(type, values.data(), bytes.data(), values.size());
  return bytes;
}

struct Part {
  std::string name;
  std::vector<uint64_t> shape;
  std::vector<float> values;
  WeightType type = WeightType::kF32;
};

Part part(const std::string& name, std::vector<uint64_t> shape) {
  uint64_t count = 1;
  for (const uint64_t extent : shape) count *= extent;
  return {name, std::move(shape), random_values(count, std::hash<std::string>()(name))};
}

void add(Writer& writer, const Part& part) {
  writer.add_tensor(part.name, part.shape, part.type, encoded(part.values, part.type));
}

std::string write_model(const TempFolder& folder, WeightType type = WeightType::kF32) {
  Writer writer;
  writer.set_string("general.architecture", "llama");
  for (Part tensor :
       {part("token_embd.weight", {kIn, kOut}), part("output.weight", {kIn, kOut}),
        part(kMatrix, {kIn, kOut}), part(kStack, {kIn, kOut, kExperts}), part("norm", {kIn})}) {
    if (tensor.shape.size() > 1) tensor.type = type;
    add(writer, tensor);
  }
  llvm::cantFail(writer.write(folder.file("model.gguf")));
  return folder.file("model.gguf");
}

// An adapter as it should be, for a test to spoil.
struct Recipe {
  std::string type = "adapter", kind = "lora", architecture = "llama";
  float alpha = 8;
  std::vector<Part> parts = {part(kMatrix + std::string(".lora_a"), {kIn, kRank}),
                             part(kMatrix + std::string(".lora_b"), {kRank, kOut})};
  bool activated = false;

  std::string write(const TempFolder& folder) const {
    Writer writer;
    if (!type.empty()) writer.set_string("general.type", type);
    if (!kind.empty()) writer.set_string("adapter.type", kind);
    if (!architecture.empty()) writer.set_string("general.architecture", architecture);
    writer.set_f32("adapter.lora.alpha", alpha);
    if (activated) writer.set_i32_array("adapter.alora.invocation_tokens", {1, 2});
    for (const Part& p : parts) add(writer, p);
    llvm::cantFail(writer.write(folder.file("adapter.gguf")));
    return folder.file("adapter.gguf");
  }
};

TEST(AdapterOption, FileAndScale) {
  const AdapterRequest plain = value_of(parse_adapter("a/b.gguf"));
  EXPECT_EQ(plain.path, "a/b.gguf");
  EXPECT_EQ(plain.scale, 1);
  const AdapterRequest scaled = value_of(parse_adapter("a:b.gguf:-0.5"));
  EXPECT_EQ(scaled.path, "a:b.gguf");
  EXPECT_EQ(scaled.scale, -0.5);
  EXPECT_EQ(value_of(parse_adapter("a:b.gguf")).path, "a:b.gguf");
  for (const char* wrong : {"", ":1", "a.gguf:0", "a.gguf:inf", "a.gguf:nan", "a.gguf:1e300"}) {
    error_of(parse_adapter(wrong), ExitCode::kUsage);
  }
}

TEST(Adapter, RefusalsSayWhatIsWrong) {
  struct Case {
    ExitCode code;
    const char* text;
    std::function<void(Recipe&)> spoil;
  };
  const auto rename = [](size_t index, const char* name) {
    return [=](Recipe& r) { r.parts[index].name = name; };
  };
  const auto reshape = [](size_t index, std::vector<uint64_t> shape) {
    return [=](Recipe& r) { r.parts[index] = part(r.parts[index].name, shape); };
  };
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<Case> cases = {
      {ExitCode::kUsage, "its general.type is model", [](Recipe& r) { r.type = ""; }},
      {ExitCode::kUsage, "its general.type is imatrix", [](Recipe& r) { r.type = "imatrix"; }},
      {ExitCode::kInvalidFile, "key adapter.type is missing", [](Recipe& r) { r.kind = ""; }},
      {ExitCode::kUnsupported, "of type control_vector",
       [](Recipe& r) { r.kind = "control_vector"; }},
      {ExitCode::kUnsupported, "activated LoRA", [](Recipe& r) { r.activated = true; }},
      {ExitCode::kUsage, "for the architecture qwen2, but",
       [](Recipe& r) { r.architecture = "qwen2"; }},
      {ExitCode::kInvalidFile, "alpha is not finite", [=](Recipe& r) { r.alpha = infinity; }},
      {ExitCode::kInvalidFile, "has the scale", [](Recipe& r) { r.alpha = 3e38f; }},
      {ExitCode::kInvalidFile, "has no LoRA tensors", [](Recipe& r) { r.parts.clear(); }},
      {ExitCode::kInvalidFile, "has .lora_a but no .lora_b", [](Recipe& r) { r.parts.pop_back(); }},
      {ExitCode::kInvalidFile, "belongs to no pair", rename(0, "blk.0.attn_q.weight.loraA")},
      {ExitCode::kUsage, "changes blk.9.attn_q.weight, which",
       [](Recipe& r) {
         r.parts[0].name = "blk.9.attn_q.weight.lora_a";
         r.parts[1].name = "blk.9.attn_q.weight.lora_b";
       }},
      {ExitCode::kUsage, "do not make the model's [64, 48]", reshape(0, {kIn / 2, kRank})},
      {ExitCode::kUsage, "do not make the model's", reshape(1, {kRank, kOut + 1})},
      {ExitCode::kUsage, "do not make the model's", reshape(0, {kIn, kRank + 1})},
      {ExitCode::kUsage, "do not make the model's", reshape(0, {kIn, kRank, 2})},
      {ExitCode::kUsage, "do not make the model's", reshape(0, {kIn * kRank})},
      {ExitCode::kInvalidFile, "has rank 65",
       [](Recipe& r) {
         r.parts[0] = part(r.parts[0].name, {kIn, kIn + 1});
         r.parts[1] = part(r.parts[1].name, {kIn + 1, kOut});
       }},
      {ExitCode::kUsage, "do not make the model's [64]",
       [](Recipe& r) {
         r.parts = {part("norm.lora_a", {kIn, kRank}), part("norm.lora_b", {kRank, 1})};
       }},
      {ExitCode::kInvalidFile, "not finite, in row 3",
       [=](Recipe& r) { r.parts[0].values[3 * kIn + 7] = infinity; }},
      {ExitCode::kInvalidFile, "not finite, in row 0",
       [](Recipe& r) { r.parts[1].values[2] = std::nanf(""); }},
  };
  const TempFolder folder;
  const File model = value_of(File::open(write_model(folder)));
  for (const Case& c : cases) {
    Recipe recipe;
    c.spoil(recipe);
    const std::string text = error_of(Adapter::open({recipe.write(folder), 8}, model), c.code);
    EXPECT_NE(text.find(c.text), std::string::npos) << c.text << " / " << text;
  }
  EXPECT_TRUE(bool(Adapter::open({Recipe().write(folder), 1}, model)));
}

// A tied embedding cannot change alone.
TEST(Adapter, RefusesTheEmbeddingThatIsTheOutput) {
  const TempFolder folder;
  Writer tied;
  tied.set_string("general.architecture", "llama");
  add(tied, part("token_embd.weight", {kIn, kOut}));
  llvm::cantFail(tied.write(folder.file("tied.gguf")));
  const File model = value_of(File::open(folder.file("tied.gguf")));
  Recipe recipe;
  recipe.parts = {part("token_embd.weight.lora_a", {kRank, kOut}),
                  part("token_embd.weight.lora_b", {kRank, kIn})};
  EXPECT_NE(error_of(Adapter::open({recipe.write(folder), 1}, model), ExitCode::kUnsupported)
                .find("also the output matrix"),
            std::string::npos);
  recipe.parts[0].name = "output.weight.lora_a";
  recipe.parts[1].name = "output.weight.lora_b";
  EXPECT_NE(error_of(Adapter::open({recipe.write(folder), 1}, model), ExitCode::kUsage)
                .find("its output matrix is the token embedding"),
            std::string::npos);
}

// Bytes of the header changed at random: an error or an adapter, never a crash.
TEST(Adapter, SurvivesDamage) {
  const TempFolder folder;
  const File model = value_of(File::open(write_model(folder)));
  std::ifstream in(Recipe().write(folder), std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), {});
  const size_t header = good.find("lora_b") + 64;
  std::mt19937 random(3);
  int opened = 0, refused = 0;
  for (int i = 0; i < 500; ++i) {
    std::string bad = good;
    for (int n = 0; n <= i % 3; ++n) bad[random() % header] = static_cast<char>(random());
    if (i % 7 == 0) bad.resize(random() % bad.size());
    llvm::Expected<Adapter> adapter = Adapter::open({folder.write("bad.gguf", bad), 1}, model);
    ++(adapter ? opened : refused);
    if (!adapter) llvm::consumeError(adapter.takeError());
  }
  EXPECT_GT(refused, 250);
  EXPECT_GT(opened, 0);
}

// W + scale alpha / rank B A by the definition, in double.
double merged(double weight, double scale, const Part& a, const Part& b, uint64_t matrix,
              uint64_t row, uint64_t column) {
  double sum = 0;
  for (uint64_t k = 0; k < kRank; ++k) {
    sum += double(a.values[(matrix * kRank + k) * kIn + column]) *
           b.values[(matrix * kOut + row) * kRank + k];
  }
  return weight + scale * sum;
}

TEST(RowReader, MergesAdapters) {
  const TempFolder folder;
  const File model = value_of(File::open(write_model(folder)));
  Recipe recipe;
  recipe.parts.push_back(part(kStack + std::string(".lora_a"), {kIn, kRank, kExperts}));
  recipe.parts.push_back(part(kStack + std::string(".lora_b"), {kRank, kOut, kExperts}));
  Edits edits;
  edits.adapters.push_back(value_of(Adapter::open({recipe.write(folder), 0.5}, model)));
  const double scale = 0.5 * recipe.alpha / kRank;
  for (const auto& [name, pair, experts] :
       {std::tuple(kMatrix, 0, uint64_t{1}), {kStack, 2, kExperts}}) {
    const TensorInfo& tensor = *model.find_tensor(name);
    const std::vector<float> weights = part(name, tensor.shape).values;
    // In parts that end inside the matrices, the second not from the first row on.
    constexpr uint64_t kSkipped = 5;
    for (const uint64_t skipped : {uint64_t{0}, kSkipped}) {
      RowReader rows(model, tensor, skipped * kIn, kIn, &edits);
      for (uint64_t first = 0; first < experts * kOut - skipped; first += 31) {
        const uint64_t n = std::min<uint64_t>(31, experts * kOut - skipped - first);
        const uint8_t* bytes = value_of(rows.read(first, n));
        for (uint64_t i = 0; i < n * kIn; ++i) {
          float got;
          std::memcpy(&got, bytes + 4 * i, 4);
          const uint64_t row = skipped + first + i / kIn;
          // Four products and the sum, each rounded once: values below 2.
          EXPECT_NEAR(got,
                      merged(weights[row * kIn + i % kIn], scale, recipe.parts[size_t(pair)],
                             recipe.parts[size_t(pair) + 1], row / kOut, row % kOut, i % kIn),
                      10 * 2 * 6e-8)
              << name << " " << row;
        }
      }
    }
  }
  EXPECT_EQ(edits.done.size(), 2u);
  const Conversion& done = edits.done.at(kMatrix);
  EXPECT_TRUE(done.merged);
  EXPECT_EQ(done.error, 0);  // F32 stores what it is given
  EXPECT_GT(done.change, 0);
}

// An embedding's row is a row of A times B.
TEST(RowReader, MergesEmbeddings) {
  const TempFolder folder;
  const File model = value_of(File::open(write_model(folder)));
  Recipe recipe;
  recipe.parts = {part("token_embd.weight.lora_a", {kRank, kOut}),
                  part("token_embd.weight.lora_b", {kRank, kIn})};
  Edits edits;
  edits.adapters.push_back(value_of(Adapter::open({recipe.write(folder), 1}, model)));
  const TensorInfo& tensor = *model.find_tensor("token_embd.weight");
  const std::vector<float> weights = part(tensor.name, tensor.shape).values;
  RowReader rows(model, tensor, 0, kIn, &edits);
  const uint8_t* bytes = value_of(rows.read(0, kOut));
  for (uint64_t i = 0; i < kOut * kIn; ++i) {
    double expected = 0;
    for (uint64_t k = 0; k < kRank; ++k) {
      expected += double(recipe.parts[0].values[i / kIn * kRank + k]) *
                  recipe.parts[1].values[i % kIn * kRank + k];
    }
    float got;
    std::memcpy(&got, bytes + 4 * i, 4);
    EXPECT_NEAR(got, weights[i] + recipe.alpha / kRank * expected, 10 * 2 * 6e-8);
  }
}

// What the reader says that storing has cost is what it has cost.
TEST(RowReader, CountsWhatStoringLoses) {
  const TempFolder folder;
  const File model = value_of(File::open(write_model(folder, WeightType::kQ8_0)));
  Edits edits;
  edits.adapters.push_back(value_of(Adapter::open({Recipe().write(folder), 1}, model)));
  const TensorInfo& tensor = *model.find_tensor(kMatrix);
  RowReader merging(model, tensor, 0, kIn, &edits);
  std::vector<float> stored(kIn * kOut), before(kIn * kOut);
  dequantise(WeightType::kQ8_0, value_of(merging.read(0, kOut)), stored.data(), stored.size());
  dequantise(WeightType::kQ8_0, model.data(tensor).data(), before.data(), before.size());
  const Recipe recipe;
  double error = 0, change = 0, energy = 0;
  for (uint64_t i = 0; i < stored.size(); ++i) {
    const double exact = merged(before[i], recipe.alpha / kRank, recipe.parts[0], recipe.parts[1],
                                0, i / kIn, i % kIn);
    error += std::pow(stored[i] - exact, 2);
    change += std::pow(exact - before[i], 2);
    energy += exact * exact;
  }
  const Conversion& done = edits.done.at(kMatrix);
  EXPECT_EQ(done.elements, stored.size());
  EXPECT_NEAR(done.error, error, 1e-4 * error);
  EXPECT_NEAR(done.change, change, 1e-4 * change);
  EXPECT_NEAR(done.energy, energy, 1e-4 * energy);
  EXPECT_GT(done.error, 0);
  EXPECT_LT(done.error, 1e-4 * energy);  // 8 bits
}

TEST(RowReader, RefusesWhatTheTypeCannotHold) {
  const TempFolder folder;
  const File model = value_of(File::open(write_model(folder, WeightType::kF16)));
  Recipe recipe;
  for (float& value : recipe.parts[0].values) value *= 1e6f;
  Edits edits;
  edits.adapters.push_back(value_of(Adapter::open({recipe.write(folder), 1}, model)));
  RowReader rows(model, *model.find_tensor(kMatrix), 0, kIn, &edits);
  EXPECT_NE(error_of(rows.read(0, kOut)).find("merged with the adapters, is not finite"),
            std::string::npos);
}

}  // namespace
}  // namespace jllm::gguf
