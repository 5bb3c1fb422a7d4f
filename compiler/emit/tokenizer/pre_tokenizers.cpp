// One row per name. Models that cut their texts alike still differ in whether a word that is a
// token is merged and in whether texts begin with BOS.
#include "compiler/emit/tokenizer/pre_tokenizers.h"

#include <llvm/ADT/STLExtras.h>

namespace jllm::emit {
namespace {

using Kind = fb::PreTokenizer;

struct Named {
  const char* name;
  PreTokenizerTraits traits;
};

constexpr bool kWholeWords = true, kAddsBos = true;

constexpr Named kNames[] = {
    {"default", {Kind::Default}},
    {"gpt-2", {Kind::Gpt2}},
    {"a.x-4.0", {Kind::Gpt2}},
    {"exaone4", {Kind::Gpt2}},
    {"gigachat", {Kind::Gpt2}},
    {"granite-docling", {Kind::Gpt2}},
    {"jais", {Kind::Gpt2}},
    {"mellum", {Kind::Gpt2}},
    {"mpt", {Kind::Gpt2}},
    {"olmo", {Kind::Gpt2}},
    {"phi-2", {Kind::Gpt2}},
    {"trillion", {Kind::Gpt2}},
    {"starcoder", {Kind::StarCoder}},
    {"codeshell", {Kind::StarCoder}},
    {"command-r", {Kind::StarCoder}},
    {"exaone", {Kind::StarCoder}},
    {"mellum2", {Kind::StarCoder}},
    {"minerva-7b", {Kind::StarCoder}},
    {"refact", {Kind::StarCoder}},
    {"smollm", {Kind::StarCoder}},
    {"falcon", {Kind::Falcon}},
    {"llama-bpe", {Kind::Llama3, kWholeWords, kAddsBos}},
    {"falcon-h1", {Kind::Llama3, kWholeWords, kAddsBos}},
    {"falcon3", {Kind::Llama3, kWholeWords, kAddsBos}},
    {"lfm2", {Kind::Llama3, kWholeWords, kAddsBos}},
    {"llama-v3", {Kind::Llama3, kWholeWords, kAddsBos}},
    {"llama3", {Kind::Llama3, kWholeWords, kAddsBos}},
    {"midm-2.0", {Kind::Llama3, kWholeWords, kAddsBos}},
    {"pixtral", {Kind::Llama3, kWholeWords, kAddsBos}},
    {"chatglm-bpe", {Kind::Llama3}},
    {"dbrx", {Kind::Llama3}},
    {"glm4", {Kind::Llama3}},
    {"smaug-bpe", {Kind::Llama3}},
    {"qwen2", {Kind::Qwen2}},
    {"bailingmoe", {Kind::Qwen2}},  // written otherwise, but it cuts every text the same
    {"bailingmoe2", {Kind::Qwen2}},
    {"deepseek-r1-qwen", {Kind::Qwen2}},
    {"grok-2", {Kind::Qwen2}},
    {"hunyuan", {Kind::Qwen2}},
    {"kormo", {Kind::Qwen2}},
    {"llada-moe", {Kind::Qwen2}},
    {"megrez", {Kind::Qwen2}},
    {"solar-open", {Kind::Qwen2}},
    {"stablelm2", {Kind::Qwen2}},
    {"qwen35", {Kind::Qwen35}},
    {"tekken", {Kind::Tekken, kWholeWords, kAddsBos}},
    {"gpt-4o", {Kind::Gpt4o}},
    {"kanana2", {Kind::Gpt4o}},
    {"llama4", {Kind::Gpt4o}},
    {"minimax-m2", {Kind::Gpt4o}},
    {"talkie", {Kind::Gpt4o}},
    {"deepseek-llm", {Kind::DeepSeekLlm}},
    {"deepseek-coder", {Kind::DeepSeekCoder}},
    {"deepseek-v3", {Kind::DeepSeekV3}},
    {"hunyuan-dense", {Kind::DeepSeekV3}},
    {"hy_v4", {Kind::DeepSeekV3}},
    {"joyai-llm", {Kind::DeepSeekV3}},
    {"seed-coder", {Kind::SeedCoder}},
    {"minicpm5", {Kind::MiniCpm5, kWholeWords}},
    {"poro-chat", {Kind::Poro}},
    {"bloom", {Kind::Poro}},
    {"gpt3-finnish", {Kind::Poro}},
    {"viking", {Kind::Viking}},
};

}  // namespace

std::optional<PreTokenizerTraits> pre_tokenizer_traits(llvm::StringRef name) {
  const auto* found = llvm::find_if(kNames, [&](const Named& entry) { return name == entry.name; });
  if (found == std::end(kNames)) return std::nullopt;
  return found->traits;
}

}  // namespace jllm::emit
