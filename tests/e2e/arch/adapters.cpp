#include "tests/e2e/arch/adapters.h"

#include <cmath>
#include <stdexcept>
#include <tuple>

#include "compiler/support/error.h"
#include "compiler/synth/random_weights.h"

namespace jllm::arch {
namespace {

[[noreturn]] void give_up(llvm::Error error) {
  throw std::runtime_error(take_error(std::move(error)).second);
}

std::vector<uint8_t> random_bytes(const std::string& name, uint64_t count, float deviation,
                                  const AdapterShape& shape, uint64_t seed) {
  const BlockShape block = block_shape(shape.type);
  std::vector<uint8_t> bytes(count / block.elements * block.bytes);
  synth::fill_blocks({shape.type, 0, deviation, synth::tensor_key(seed, name)}, 0,
                     count / block.elements, bytes.data());
  return bytes;
}

bool wanted(const AdapterShape& shape, const gguf::TensorInfo& tensor) {
  if (tensor.shape.size() < 2) return false;
  if (shape.only.empty()) return true;
  for (const std::string& part : shape.only) {
    if (tensor.name.find(part) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

gguf::Writer make_adapter(const gguf::File& model, const AdapterShape& shape, uint64_t seed) {
  gguf::Writer writer;
  writer.set_string("general.type", "adapter");
  writer.set_string("general.architecture",
                    llvm::cantFail(model.get_string("general.architecture")));
  writer.set_string("adapter.type", "lora");
  writer.set_f32("adapter.lora.alpha", shape.alpha);
  for (const gguf::TensorInfo& tensor : model.tensors()) {
    if (!wanted(shape, tensor)) continue;
    const uint64_t in = tensor.shape[0], out = tensor.shape[1], rank = shape.rank;
    const uint64_t count = tensor.elements() / in / out;
    // The change is the scale times a sum of `rank` products.
    const float scale = shape.alpha != 0 ? shape.alpha / float(rank) : 1;
    const float deviation = shape.change / std::sqrt(float(in)) / scale / std::sqrt(float(rank));
    // An embedding is looked up: its A has a row per token, its B one per element.
    const bool embedding = tensor.name == "token_embd.weight";
    std::vector<uint64_t> a = {in, rank}, b = {rank, out};
    if (embedding) {
      a = {rank, out};
      b = {rank, in};
    }
    if (tensor.shape.size() > 2) {
      a.push_back(count);
      b.push_back(count);
    }
    for (const auto& [end, dimensions, sigma] :
         {std::tuple(".lora_a", a, 1.0f), {".lora_b", b, deviation}}) {
      const std::string name = tensor.name + end;
      const uint64_t elements = dimensions[0] * dimensions[1] * count;
      writer.add_tensor(name, dimensions, shape.type,
                        random_bytes(name, elements, sigma, shape, seed));
    }
  }
  return writer;
}

std::vector<AdaptedModel> adapted_models() {
  synth::SynthOptions llama = tiny("tinyllama", {2, 128, 352, 4, 2, 32});
  synth::SynthOptions phi3 = tiny("phi-3-mini", {2, 192, 512, 4, 4, 48});
  synth::SynthOptions qwen2 = tiny("qwen2.5-0.5b", {2, 224, 1216, 7, 1, 32});
  AdapterShape all;
  AdapterShape layers = all;
  layers.only = {"blk."};
  AdapterShape attention = all;
  attention.rank = 16;
  attention.alpha = 0;  // none: the scale alone
  attention.only = {"attn_q.", "attn_v."};
  synth::SynthOptions experts = tiny("qwen3-30b-a3b", {2, 128, 384, 4, 1, 64});
  experts.experts = 8;
  experts.experts_used = 3;
  experts.expert_ffn = 48;
  AdapterShape of_experts = all;
  of_experts.only = {"_exps.", "attn_q."};
  // Embedding and output matrix too; a matrix that holds three; an embedding that is the output; a
  // matrix of every expert.
  return {{{"llama_all", llama}, all},
          {{"phi3_layers", phi3}, layers},
          {{"qwen2_attention", qwen2}, attention},
          {{"qwen3moe_experts", experts}, of_experts}};
}

void write_adapted(const AdaptedModel& model, const std::string& folder) {
  const std::string path = folder + "/" + model.base.name;
  write_model(model.base, path + ".gguf");
  llvm::Expected<gguf::File> file = gguf::File::open(path + ".gguf");
  if (!file) give_up(file.takeError());
  if (llvm::Error error = make_adapter(*file, model.adapter, 5).write(path + ".lora")) {
    give_up(std::move(error));
  }
}

}  // namespace jllm::arch
