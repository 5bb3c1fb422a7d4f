// make_oracle_models FOLDER [embeddings]: writes the models that tests/golden/make_llama_logits.py
// runs.
#include <cstdio>
#include <exception>
#include <string_view>

#include "tests/e2e/oracle/models.h"

int main(int argc, char** argv) {
  const bool embeddings = argc == 3 && argv[2] == std::string_view("embeddings");
  if (argc != 2 && !embeddings) {
    std::fprintf(stderr, "usage: make_oracle_models FOLDER [embeddings]\n");
    return 2;
  }
  try {
    for (const jllm::oracle::OracleModel& model :
         embeddings ? jllm::oracle::embedding_models() : jllm::oracle::oracle_models()) {
      jllm::write_model(model.model, std::string(argv[1]) + "/" + model.name + ".gguf");
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make_oracle_models: %s\n", error.what());
    return 1;
  }
}
