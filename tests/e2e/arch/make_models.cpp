// make_arch_models FOLDER: writes the models that tests/golden/make_llama_logits.py runs.
#include <cstdio>
#include <exception>

#include "tests/e2e/arch/models.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_arch_models FOLDER\n");
    return 2;
  }
  try {
    for (const jllm::arch::ArchModel& model : jllm::arch::arch_models()) {
      jllm::arch::write_model(model, std::string(argv[1]) + "/" + model.name + ".gguf");
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make_arch_models: %s\n", error.what());
    return 1;
  }
}
