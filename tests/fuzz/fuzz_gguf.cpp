// Any bytes as a GGUF file: what opens is read to the last value, its model made into graphs, and
// its tokenizer taken out.
#include <algorithm>

#include "compiler/emit/tokenizer_segment.h"
#include "compiler/gguf/file.h"
#include "compiler/model/model.h"
#include "compiler/passes/fuse.h"
#include "compiler/support/error.h"
#include "executor/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

namespace jllm::fuzz {
namespace {

template <typename T>
bool is_there(llvm::Expected<T> value) {
  if (value) return true;
  JLLM_FUZZ_CHECK(!take_error(value.takeError()).second.empty());
  return false;
}

uint64_t read_everything(const gguf::File& file) {
  uint64_t sum = 0;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    if (!file.has_data(tensor)) continue;
    for (const uint8_t byte : file.data(tensor)) sum += byte;
  }
  for (const std::string& key : file.keys()) {
    is_there(file.get_u64(key));
    is_there(file.get_f64(key));
    is_there(file.get_bool(key));
    is_there(file.get_string(key));
    is_there(file.get_u64_array(key));
    is_there(file.get_f64_array(key));
    is_there(file.get_string_array(key));
  }
  return sum;
}

void use_tokenizer(const gguf::File& file) {
  llvm::Expected<std::vector<uint8_t>> segment = emit::build_tokenizer_segment(file);
  if (!segment) {
    JLLM_FUZZ_CHECK(!take_error(segment.takeError()).second.empty());
    return;
  }
  const AlignedCopy copy(segment->data(), segment->size());
  std::string error;
  const auto tokenizer = text::Tokenizer::open(copy.data(), copy.size(), &error);
  JLLM_FUZZ_CHECK(tokenizer != nullptr);  // what we wrote ourselves opens
  tokenizer->decode(tokenizer->encode("Hello, w\xc3\xb6rld <s> 123", {}), true);
}

void build_graphs(const gguf::File& file) {
  llvm::Expected<model::Model> model = model::load(file);
  if (!model) {
    JLLM_FUZZ_CHECK(!take_error(model.takeError()).second.empty());
    return;
  }
  model::ProgramOptions options;
  options.context = std::min(64u, model->params.context_length);
  options.prefill_rows = {8};
  options.verify_rows = {2};
  llvm::Expected<ir::Program> program = model::build_program(*model, options);
  if (program) return passes::fuse(*program);
  JLLM_FUZZ_CHECK(!take_error(program.takeError()).second.empty());
}

void run(const uint8_t* data, size_t size) {
  const InputFile input(data, size);
  for (const bool header_only : {false, true}) {
    llvm::Expected<gguf::File> file = gguf::File::open(input.path(), {header_only});
    if (!file) {
      JLLM_FUZZ_CHECK(!take_error(file.takeError()).second.empty());
      continue;
    }
    if (!header_only) read_everything(*file);
    build_graphs(*file);
    use_tokenizer(*file);
    return;
  }
}

}  // namespace
}  // namespace jllm::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  jllm::fuzz::run(data, size);
  return 0;
}
