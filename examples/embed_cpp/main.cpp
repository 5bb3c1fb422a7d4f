// A plan's answer to a prompt, in C++: Executor by itself, and two of them side by side.
// usage: embed_cpp PLAN.jllm PROMPT [TOKENS]
#include <cstdlib>
#include <iostream>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

#include "jllm/executor.h"
#include "jllm/plan.h"
#include "jllm/text.h"

namespace {

// A block as the library wants it.
class Block {
 public:
  explicit Block(uint64_t size) : size_(size), memory_(::operator new(size, kAlignment)) {}
  ~Block() { ::operator delete(memory_, kAlignment); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  void* get() const { return memory_; }
  uint64_t size() const { return size_; }

 private:
  static constexpr std::align_val_t kAlignment{JLLM_ALIGNMENT};
  uint64_t size_;
  void* memory_;
};

class PlanFile {
 public:
  explicit PlanFile(const char* path) : block_(bytes_of(path)) {
    jllm_message why;
    if (jllm_plan_open_file(path, block_.get(), block_.size(), &plan_, &why) != JLLM_OK) {
      throw std::runtime_error(why.text);
    }
  }
  ~PlanFile() { jllm_plan_close(plan_); }
  PlanFile(const PlanFile&) = delete;
  PlanFile& operator=(const PlanFile&) = delete;
  jllm_plan* get() const { return plan_; }

 private:
  static uint64_t bytes_of(const char* path) {
    uint64_t bytes = 0;
    jllm_message why;
    if (jllm_plan_file_bytes(path, &bytes, &why) != JLLM_OK) throw std::runtime_error(why.text);
    return bytes;
  }
  Block block_;
  jllm_plan* plan_ = nullptr;
};

// An executor and the block that it lives in.
class Model {
 public:
  explicit Model(jllm_plan* plan) : block_(jllm::Executor::required_bytes(jllm::view_of(plan))) {
    jllm::Message why;
    const auto created = jllm::Executor::create(jllm::view_of(plan), jllm::source_of(plan),
                                                block_.get(), block_.size(), {}, &why);
    if (!created.ok()) throw std::runtime_error(why.text);
    executor_ = created.value();
  }
  ~Model() { executor_->destroy(); }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  std::string answer(const jllm::Tokenizer& tokenizer, const std::string& prompt, uint32_t most) {
    const std::vector<uint32_t> tokens = tokenizer.tokenize(prompt);
    check(executor_->prefill(tokens.data(), static_cast<uint32_t>(tokens.size())));
    jllm::Decoder decoder(tokenizer);
    std::string text;
    jllm::SampledToken token;
    for (uint32_t i = 0; token.done == jllm::kRunning && i < most; ++i) {
      const auto sampled = executor_->generate(most - i);
      check(sampled.error());
      token = sampled.value();
      text += decoder.push(token.id);
    }
    return text += decoder.finish();
  }

 private:
  void check(jllm::Error error) const {
    if (error != jllm::Error::kOk) throw std::runtime_error(executor_->last_error());
  }
  Block block_;
  jllm::Executor* executor_ = nullptr;
};

void run(const char* path, const std::string& prompt, uint32_t most) {
  const PlanFile plan(path);
  jllm::Tokenizer tokenizer;
  std::string why;
  if (tokenizer.open(plan.get(), &why) != JLLM_OK) throw std::runtime_error(why);
  // Each thread has an executor of its own; the plan and the tokenizer are shared.
  Model first(plan.get()), second(plan.get());
  std::string here, there;
  std::thread other([&] { there = second.answer(tokenizer, prompt, most); });
  here = first.answer(tokenizer, prompt, most);
  other.join();
  std::cout << here << '\n' << (here == there ? "both the same" : there) << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: embed_cpp PLAN.jllm PROMPT [TOKENS]\n";
    return 2;
  }
  try {
    run(argv[1], argv[2], argc > 3 ? static_cast<uint32_t>(std::atoi(argv[3])) : 64);
  } catch (const std::exception& failure) {
    std::cerr << "embed_cpp: " << failure.what() << '\n';
    return 1;
  }
}
