// Any bytes as a GGUF file: what opens is read to the last value, planned for the host, and its
// tokenizer and chat format taken out.
#include <llvm/Support/raw_ostream.h>

#include "compiler/chat/chat.h"
#include "compiler/emit/tokenizer_segment.h"
#include "compiler/gguf/file.h"
#include "compiler/plan.h"
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
  // A template would be handed to a Python of its own: too slow here, and fuzzing that engine.
  is_there(chat::choose_format(file, *segment, "chatml"));
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
    PlanOptions options;
    options.context = 64;
    is_there(plan_model(*file, llvm::cantFail(target::find("host")), options));
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
