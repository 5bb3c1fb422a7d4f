// Makes the seeds of the fuzz targets from tiny models of ours: fuzz_make_corpus tests/fuzz
// Files of other names (findings that became regressions) stay.
#include <filesystem>
#include <fstream>
#include <iostream>

#include "compiler/chat/chat.h"
#include "compiler/emit/tokenizer_segment.h"
#include "compiler/gguf/writer.h"
#include "schema/prefix.h"
#include "tests/fuzz/host_plan.h"
#include "tests/support/tiny_plan.h"
#include "tools/plan_file/prefix_file.h"

namespace jllm {
namespace {

namespace fs = std::filesystem;

fs::path root;

void save(const std::string& name, const void* data, size_t size) {
  const fs::path path = root / name;
  fs::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary);
  out.write(static_cast<const char*>(data), static_cast<std::streamsize>(size));
  if (!out.flush()) throw std::runtime_error(path.string() + " cannot be written");
  std::cout << size << " " << name << "\n";
}

synth::SynthOptions tiny(const char* like, uint32_t layers = 1) {
  synth::SynthOptions options;
  options.like = like;
  options.type = "f32";
  options.layers = layers;
  options.embedding = 32;
  options.ffn = 32;
  options.heads = 1;
  options.kv_heads = 1;
  options.head_dim = 32;
  options.vocab = 512;
  options.context = 64;
  return options;
}

synth::SynthOptions experts(const char* type) {
  synth::SynthOptions options = tiny("olmoe-1b-7b");
  options.type = type;
  options.experts = 4;
  options.experts_used = 2;
  return options;
}

// Prefix and tables; the segments behind them are made up by the target.
void save_head(const std::string& name, const synth::SynthOptions& model, CompileOptions options) {
  options.plan.context = 16;
  options.plan.prefill_chunk = 4;
  const std::vector<uint8_t> plan = test::plan_bytes(model, options);
  PlanPrefix prefix;
  std::memcpy(&prefix, plan.data(), sizeof prefix);
  save("bases/" + name + ".head", plan.data(), prefix.plan_offset + prefix.plan_size);
}

void save_plans() {
  CompileOptions drafting, plain, packed, slots;
  drafting.plan.speculate = 3;
  plain.plan.speculate = 0;
  packed.plan.speculate = 0;
  packed.plan.kv_k = packed.plan.kv_v = WeightType::kQ4_0;
  save_head("llama", tiny("llama-3.2-1b"), drafting);
  save_head("stablelm", tiny("stablelm-2-1.6b"), plain);
  save_head("lfm2", tiny("lfm2-1.2b", 3), plain);
  save_head("olmoe", experts("f32"), plain);
  slots.plan.slots = 2;
  slots.plan.kv_k = slots.plan.kv_v = WeightType::kQ8_0;
  save_head("olmoe-q8_0", experts("q8_0"), packed);
  save_head("slots", tiny("lfm2-1.2b", 3), slots);
}

void save_models() {
  const test::TempDir dir;
  const std::string path = dir.file("model.gguf");
  const char* formats[] = {"chatml", "gemma", "llama2", "llama3", "mistral", "phi3", "zephyr"};
  for (const char* like :
       {"llama-3.2-1b", "tinyllama", "qwen2.5-0.5b", "gemma-2-2b", "lfm2-1.2b", "olmoe-1b-7b"}) {
    synth::SynthOptions model =
        std::string(like) == "olmoe-1b-7b" ? experts("f32") : tiny(like, *like == 'l' ? 3 : 1);
    model.header_only = true;
    test::make_model(model, path);
    const std::vector<uint8_t> bytes = test::read_file(path);
    save(std::string("corpus/gguf/") + like, bytes.data(), bytes.size());
    const gguf::File file = llvm::cantFail(gguf::File::open(path, {true}));
    const std::vector<uint8_t> tokenizer = llvm::cantFail(emit::build_tokenizer_segment(file));
    const bool is_spm = std::string(like) == "tinyllama";
    if (is_spm || std::string(like) == "qwen2.5-0.5b") {
      save(std::string("corpus/tokenizer/") + like, tokenizer.data(), tokenizer.size());
    }
    if (!is_spm) continue;
    for (const char* name : formats) {
      llvm::Expected<chat::ChosenFormat> chosen = chat::choose_format(file, tokenizer, name);
      if (!chosen) {
        llvm::consumeError(chosen.takeError());
        continue;
      }
      save(std::string("corpus/chat/") + name, chosen->segment.data(), chosen->segment.size());
    }
  }
}

std::vector<uint8_t> floats(uint64_t count) {
  std::vector<uint8_t> bytes(4 * count);
  for (uint64_t i = 0; i < count; ++i) {
    const float value = 0.5f + static_cast<float>(i % 7);
    std::memcpy(&bytes[4 * i], &value, 4);
  }
  return bytes;
}

void add(gguf::Writer* writer, const std::string& name, const std::vector<uint64_t>& shape) {
  uint64_t count = 1;
  for (const uint64_t extent : shape) count *= extent;
  writer->add_tensor(name, shape, WeightType::kF32, floats(count));
}

void save_gguf(const gguf::Writer& writer, const std::string& name) {
  const test::TempDir dir;
  llvm::cantFail(writer.write(dir.file("a.gguf")));
  const std::vector<uint8_t> bytes = test::read_file(dir.file("a.gguf"));
  save(name, bytes.data(), bytes.size());
}

void save_edits() {
  gguf::Writer model;
  model.set_string("general.architecture", "llama");
  add(&model, "token_embd.weight", {32, 16});
  add(&model, "output.weight", {32, 16});
  add(&model, "q", {32, 16});
  add(&model, "e", {32, 8, 3});
  save_gguf(model, "bases/edited.gguf");
  gguf::Writer adapter;
  adapter.set_string("general.type", "adapter");
  adapter.set_string("adapter.type", "lora");
  adapter.set_string("general.architecture", "llama");
  adapter.set_f32("adapter.lora.alpha", 8);
  add(&adapter, "q.lora_a", {32, 2});
  add(&adapter, "q.lora_b", {2, 16});
  save_gguf(adapter, "corpus/edits/adapter");
  gguf::Writer matrix;
  matrix.set_string("general.type", "imatrix");
  matrix.set_u32("imatrix.chunk_count", 3);
  add(&matrix, "q.in_sum2", {32, 1});
  add(&matrix, "q.counts", {1, 1});
  add(&matrix, "e.in_sum2", {32, 3});
  add(&matrix, "e.counts", {1, 3});
  save_gguf(matrix, "corpus/edits/matrix");
  std::string binary;
  const auto put = [&](const void* data, size_t size) {
    binary.append(static_cast<const char*>(data), size);
  };
  const int32_t numbers[] = {1, 1, 3, 32};  // entries, length of the name; calls, values
  put(&numbers[0], 8);
  put("q", 1);
  put(&numbers[2], 8);
  put(floats(32).data(), 128);
  put(&numbers[2], 4);  // chunks
  put(&numbers[1], 4);
  put("c", 1);  // the calibration text's name
  save("corpus/edits/binary", binary.data(), binary.size());
}

void save_text(const std::string& name, std::string_view text) {
  save(name, text.data(), text.size());
}

void save_small() {
  save_text(
      "corpus/json/values",
      R"({"a": [1, -2.5e+3, true, false, null], "b\u00e9\n": {"c": "\ud83d\ude00"}, "d": []})");
  save_text("corpus/json/hermes",
            "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>");
  save_text("corpus/json/llama3", R"({"name": "f", "parameters": {"x": [1, 2]}})");
  save_text("corpus/json/mistral",
            R"([TOOL_CALLS][{"name": "f", "arguments": {"x": 1}, "id": "123456789"}])");
  for (char base = 0; base < 5; ++base) {
    std::string edits(1, base);  // and one edit of each kind, here and there
    for (char kind = 0; kind < 10; ++kind) {
      const char edit[12] = {static_cast<char>(kind * 3), 0, static_cast<char>(kind + 2), kind,
                             static_cast<char>(kind + 1)};
      edits.append(edit, sizeof edit);
    }
    save_text("corpus/launch/base-" + std::to_string(int{base}), edits);
    save_text("corpus/launch/whole-" + std::to_string(int{base}), edits.substr(0, 1));
  }
}

// What the target's plan makes of a few tokens, behind the byte that says what is made to fit.
void save_prefix() {
  const std::vector<uint8_t> head = fuzz::base_file("slots.head");
  const fuzz::AlignedCopy aligned(head.data(), head.size());
  const auto keep = [&](const PlanView& view, Executor& executor) {
    const test::TempDir dir;
    const std::vector<uint32_t> tokens = {1, 2, 3, 4, 5};
    if (executor.prefill(tokens.data(), 5) != Error::kOk) throw std::runtime_error("no prefix");
    tool::write_prefix(dir.file("a"), view.prefix().plan_hash, executor, tokens);
    std::vector<uint8_t> input = test::read_file(dir.file("a"));
    for (const uint8_t fits : {uint8_t{0}, uint8_t{3}}) {
      input.insert(input.begin(), fits);
      input[input.size() / 2] =
          static_cast<uint8_t>(input[input.size() / 2] ^ fits);  // caches of other numbers
      save("corpus/prefix/fits-" + std::to_string(fits), input.data(), input.size());
      input.erase(input.begin());
    }
  };
  fuzz::with_host_plan(aligned.data(), aligned.size(), keep);
}

}  // namespace
}  // namespace jllm

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: fuzz_make_corpus FOLDER      (tests/fuzz)\n";
    return 2;
  }
  jllm::root = argv[1];
  jllm::save_plans();
  jllm::save_models();
  jllm::save_edits();
  jllm::save_small();
  jllm::save_prefix();
}
