// make_arch_models FOLDER [--lora]: writes the models that tests/golden/make_llama_logits.py runs,
// or those with adapters.
#include <cstdio>
#include <exception>
#include <string>

#include "tests/e2e/arch/adapters.h"

int main(int argc, char** argv) {
  const bool adapted = argc == 3 && std::string(argv[2]) == "--lora";
  if (argc != 2 && !adapted) {
    std::fprintf(stderr, "usage: make_arch_models FOLDER [--lora]\n");
    return 2;
  }
  try {
    if (adapted) {
      for (const jllm::arch::AdaptedModel& model : jllm::arch::adapted_models()) {
        jllm::arch::write_adapted(model, argv[1]);
      }
      return 0;
    }
    for (const jllm::arch::ArchModel& model : jllm::arch::arch_models()) {
      jllm::arch::write_model(model, std::string(argv[1]) + "/" + model.name + ".gguf");
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make_arch_models: %s\n", error.what());
    return 1;
  }
}
