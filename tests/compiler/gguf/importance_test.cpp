// Importance matrices: both formats read alike, what is refused, and that what quantising loses is
// less where it matters.
#include "compiler/gguf/importance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "compiler/gguf/quants.h"
#include "compiler/gguf/requantise.h"
#include "compiler/gguf/writer.h"
#include "tests/compiler/gguf/raw_gguf.h"

namespace jllm::gguf {
namespace {

constexpr uint64_t kRow = 256, kRows = 24, kExperts = 3;
constexpr char kMatrix[] = "blk.0.ffn_up.weight", kStack[] = "blk.0.ffn_up_exps.weight";

std::vector<uint8_t> bytes_of(const std::vector<float>& values) {
  std::vector<uint8_t> bytes(4 * values.size());
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::vector<float> normal_values(uint64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// As of real activations: most columns alike, some ten and a few a hundred times as strong.
std::vector<float> uneven(uint64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    value = 0.5f + float(random() % 1000) / 1000.0f;
    if (random() % 8 == 0) value *= 10;
    if (random() % 64 == 0) value *= 100;
  }
  return values;
}

std::string write_model(const TempFolder& folder) {
  Writer writer;
  writer.add_tensor(kMatrix, {kRow, kRows}, WeightType::kF32,
                    bytes_of(normal_values(kRow * kRows, 1)));
  writer.add_tensor(kStack, {kRow, kRows, kExperts}, WeightType::kF32,
                    bytes_of(normal_values(kRow * kRows * kExperts, 2)));
  llvm::cantFail(writer.write(folder.file("model.gguf")));
  return folder.file("model.gguf");
}

struct Entry {
  std::string name;
  std::vector<float> sums, counts;
};

std::string gguf_matrix(const TempFolder& folder, const std::vector<Entry>& entries,
                        const std::string& type = "imatrix") {
  Writer writer;
  if (!type.empty()) writer.set_string("general.type", type);
  writer.set_u32("imatrix.chunk_count", 3);
  for (const Entry& entry : entries) {
    const uint64_t groups = std::max<uint64_t>(1, entry.counts.size());
    if (!entry.sums.empty()) {
      writer.add_tensor(entry.name + ".in_sum2", {entry.sums.size() / groups, groups},
                        WeightType::kF32, bytes_of(entry.sums));
    }
    if (!entry.counts.empty()) {
      writer.add_tensor(entry.name + ".counts", {1, groups}, WeightType::kF32,
                        bytes_of(entry.counts));
    }
  }
  llvm::cantFail(writer.write(folder.file("im.gguf")));
  return folder.file("im.gguf");
}

std::string binary_matrix(const std::vector<Entry>& entries) {
  std::string out = raw(int32_t(entries.size()));
  for (const Entry& entry : entries) {
    out += raw(int32_t(entry.name.size())) + entry.name + raw(int32_t(7));
    out += raw(int32_t(entry.sums.size()));
    for (const float value : entry.sums) out += raw(value);
  }
  const std::string text = "calibration.txt";
  return out + raw(int32_t(12)) + raw(int32_t(text.size())) + text;
}

TEST(ImportanceMatrix, BothFormatsReadAlike) {
  const TempFolder folder;
  const File model = value_of(File::open(write_model(folder)));
  const std::vector<float> dense = uneven(kRow, 3);
  const std::vector<float> stack = uneven(kRow * kExperts, 4);
  const std::vector<Entry> entries = {
      {kMatrix, dense, {8}}, {kStack, stack, {5, 0, 9}}, {"blk.9.strange.weight", dense, {8}}};
  const ImportanceMatrix from_gguf =
      value_of(ImportanceMatrix::open(gguf_matrix(folder, entries), model));
  const ImportanceMatrix from_binary =
      value_of(ImportanceMatrix::open(folder.write("im.dat", binary_matrix(entries)), model));
  for (const ImportanceMatrix* matrix : {&from_gguf, &from_binary}) {
    EXPECT_EQ(matrix->known(), 2u);
    EXPECT_EQ(matrix->strangers(), std::vector<std::string>{"blk.9.strange.weight"});
    EXPECT_TRUE(matrix->has(kMatrix));
    EXPECT_FALSE(matrix->has("blk.9.strange.weight"));
  }
  for (uint64_t expert = 0; expert < kExperts; ++expert) {
    const std::vector<float> got = from_gguf.columns(kStack, expert);
    double sum = 0;
    for (uint64_t i = 0; i < kRow; ++i) sum += stack[expert * kRow + i];
    for (uint64_t i = 0; i < kRow; ++i) {
      // Nobody has chosen the second expert.
      const double expected = expert == 1 ? 1 : stack[expert * kRow + i] / sum * kRow;
      EXPECT_NEAR(got[i], expected, 1e-6 * expected) << expert << " " << i;
    }
    if (expert == 1) continue;  // the binary format does not say so
    EXPECT_EQ(from_binary.columns(kStack, expert), got);
  }
  EXPECT_EQ(from_gguf.columns(kMatrix, 0), from_binary.columns(kMatrix, 0));
}

TEST(ImportanceMatrix, NoColumnIsWorthNothing) {
  const TempFolder folder;
  const File model = value_of(File::open(write_model(folder)));
  std::vector<float> one(kRow, 0.0f);
  one[5] = 1e30f;
  const ImportanceMatrix matrix =
      value_of(ImportanceMatrix::open(gguf_matrix(folder, {{kMatrix, one, {1}}}), model));
  const std::vector<float> columns = matrix.columns(kMatrix, 0);
  EXPECT_EQ(columns[5], float(kRow));
  EXPECT_GT(columns[6], 0);
  const ImportanceMatrix none = value_of(ImportanceMatrix::open(
      gguf_matrix(folder, {{kMatrix, std::vector<float>(kRow, 0.0f), {1}}}), model));
  EXPECT_EQ(none.columns(kMatrix, 0), std::vector<float>(kRow, 1.0f));
}

TEST(ImportanceMatrix, RefusalsSayWhatIsWrong) {
  const TempFolder folder;
  const File model = value_of(File::open(write_model(folder)));
  const std::vector<float> good = uneven(kRow, 3);
  const auto with = [&](float value) {
    std::vector<float> values = good;
    values[7] = value;
    return values;
  };
  const float infinity = std::numeric_limits<float>::infinity();
  const auto refuses = [&](const std::string& path, ExitCode code, const char* text) {
    const std::string message = error_of(ImportanceMatrix::open(path, model), code);
    EXPECT_NE(message.find(text), std::string::npos) << text << " / " << message;
  };
  const std::vector<Entry> fine = {{kMatrix, good, {8}}};
  refuses(gguf_matrix(folder, fine, ""), ExitCode::kUsage, "its general.type is model");
  refuses(gguf_matrix(folder, {{kMatrix, good, {}}}), ExitCode::kInvalidFile, "no .counts");
  refuses(gguf_matrix(folder, {{kMatrix, {}, {8}}}), ExitCode::kInvalidFile, "no .in_sum2");
  refuses(gguf_matrix(folder, {{"other", good, {8}}}), ExitCode::kUsage, "(it has other)");
  refuses(gguf_matrix(folder, {}), ExitCode::kUsage, "names no matrix");
  for (const float wrong : {-1.0f, infinity, std::nanf("")}) {
    const std::vector<Entry> entries = {{kMatrix, with(wrong), {8}}};
    refuses(gguf_matrix(folder, entries), ExitCode::kInvalidFile, "negative or not finite");
    refuses(folder.write("im.dat", binary_matrix(entries)), ExitCode::kInvalidFile,
            "negative or not finite");
    refuses(gguf_matrix(folder, {{kMatrix, good, {wrong}}}), ExitCode::kInvalidFile,
            "negative or not finite");
  }
  const std::vector<float> half(good.begin(), good.begin() + kRow / 2);
  const std::vector<float> twice = uneven(2 * kRow, 3);
  for (const std::vector<Entry>& entries : std::vector<std::vector<Entry>>{
           {{kMatrix, half, {8}}}, {{kMatrix, twice, {8, 8}}}, {{kStack, twice, {8, 8}}}}) {
    refuses(gguf_matrix(folder, entries), ExitCode::kUsage, "columns; take the importance matrix");
    refuses(folder.write("im.dat", binary_matrix(entries)), ExitCode::kUsage, "columns; take");
  }
  refuses(gguf_matrix(folder, {{kMatrix, good, {8, 8}}}), ExitCode::kUsage, "in 2 groups");
  // The binary format, cut off after every byte and spoilt in its counts.
  const std::string binary = binary_matrix(fine);
  const size_t needed = binary.size() - 4 - 4 - 15;
  for (size_t size = 0; size < needed; size += size < 60 ? 1 : 97) {
    refuses(folder.write("im.dat", binary.substr(0, size)), ExitCode::kInvalidFile,
            "is no importance matrix");
  }
  EXPECT_TRUE(
      bool(ImportanceMatrix::open(folder.write("im.dat", binary.substr(0, needed)), model)));
  const size_t name = 8, values = name + sizeof(kMatrix) - 1 + 4;
  for (const auto& [offset, value] :
       std::initializer_list<std::pair<size_t, int32_t>>{{0, -1},
                                                         {0, 0},
                                                         {0, 1 << 30},
                                                         {4, 0},
                                                         {4, -5},
                                                         {4, 1 << 20},
                                                         {values, 0},
                                                         {values, -1},
                                                         {values, 0x7fffffff}}) {
    std::string bad = binary;
    std::memcpy(&bad[offset], &value, 4);
    refuses(folder.write("im.dat", bad), ExitCode::kInvalidFile, "is no importance matrix");
  }
  refuses(folder.write("im.dat", binary_matrix({fine[0], fine[0]})), ExitCode::kInvalidFile,
          "a name appears twice");
}

// Sum over elements of importance times squared error, with and without the search knowing it.
std::pair<double, double> weighted_errors(WeightType type, const std::vector<float>& values,
                                          const std::vector<float>& importance) {
  const BlockShape block = block_shape(type);
  std::vector<uint8_t> blocks(values.size() / block.elements * block.bytes);
  const auto error = [&](const float* known) {
    std::vector<float> back(values.size());
    for (uint64_t row = 0; row < values.size(); row += kRow) {
      quantise(type, &values[row], blocks.data(), kRow, known);
      dequantise(type, blocks.data(), &back[row], kRow);
    }
    double sum = 0;
    for (uint64_t i = 0; i < values.size(); ++i) {
      sum += double(importance[i % kRow]) * std::pow(double(back[i]) - values[i], 2);
    }
    return sum;
  };
  return {error(nullptr), error(importance.data())};
}

// Where the search has a say it must use it; 8 bits have none, floats no search.
TEST(WeightedQuantisation, LosesLessWhereItMatters) {
  const std::vector<float> values = normal_values(kRow * 512, 5);
  for (uint32_t id = 0; id < 64; ++id) {
    const auto type = static_cast<WeightType>(id);
    const BlockShape block = block_shape(type);
    if (block.elements <= 1) continue;
    for (const uint32_t seed : {6, 7}) {
      const auto [blind, knowing] = weighted_errors(type, values, uneven(kRow, seed));
      RecordProperty(weight_type_name(type), std::to_string(knowing / blind));
      if (type == WeightType::kQ8_0) {
        EXPECT_EQ(knowing, blind);
      } else {
        EXPECT_LT(knowing, 0.98 * blind) << weight_type_name(type);
      }
    }
    // All alike: the wider search can only help.
    const auto [blind, even] = weighted_errors(type, values, std::vector<float>(kRow, 1.0f));
    EXPECT_LE(even, blind * 1.0001) << weight_type_name(type);
  }
}

// Each matrix of a tensor by its own columns.
TEST(RowReader, WeighsByTheMatrixsColumns) {
  const TempFolder folder;
  const File stored = value_of(File::open(write_model(folder)));
  const File model = stored.with_types([](const TensorInfo&) { return WeightType::kQ4_0; });
  const std::vector<float> stack = uneven(kRow * kExperts, 4);
  Edits edits;
  edits.importance =
      value_of(ImportanceMatrix::open(gguf_matrix(folder, {{kStack, stack, {5, 6, 9}}}), model));
  const TensorInfo& tensor = *model.find_tensor(kStack);
  RowReader rows(model, tensor, 0, kRow, &edits);
  const std::vector<float> values = normal_values(kRow * kRows * kExperts, 2);
  const uint64_t row_bytes = kRow / 32 * 18;
  std::vector<uint8_t> expected(row_bytes);
  for (uint64_t first = 0; first < kRows * kExperts; first += 10) {
    const uint64_t n = std::min<uint64_t>(10, kRows * kExperts - first);
    const uint8_t* got = value_of(rows.read(first, n));
    for (uint64_t i = 0; i < n; ++i) {
      const std::vector<float> columns = edits.importance->columns(kStack, (first + i) / kRows);
      quantise(WeightType::kQ4_0, &values[(first + i) * kRow], expected.data(), kRow,
               columns.data());
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), got + i * row_bytes)) << first + i;
    }
  }
  const Conversion& done = edits.done.at(kStack);
  EXPECT_TRUE(done.weighted);
  EXPECT_LT(done.weighted_error / done.weighted_energy, done.error / done.energy);
  RowReader other(model, *model.find_tensor(kMatrix), 0, kRow, &edits);
  value_of(other.read(0, kRows));
  EXPECT_FALSE(edits.done.at(kMatrix).weighted);
}

}  // namespace
}  // namespace jllm::gguf
