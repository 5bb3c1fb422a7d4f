// Any bytes as what is applied to a model: an importance matrix of either format, or an adapter.
#include "compiler/gguf/adapter.h"
#include "compiler/gguf/importance.h"
#include "compiler/support/error.h"
#include "tests/fuzz/fuzz.h"

namespace jllm::fuzz {
namespace {

void run(const uint8_t* data, size_t size) {
  static const gguf::File model = llvm::cantFail(gguf::File::open(base_path("edited.gguf")));
  const InputFile input(data, size);
  llvm::Expected<gguf::ImportanceMatrix> matrix = gguf::ImportanceMatrix::open(input.path(), model);
  if (matrix) {
    for (const gguf::TensorInfo& tensor : model.tensors()) {
      if (!matrix->has(tensor.name)) continue;
      const uint64_t matrices = tensor.shape.size() > 2 ? tensor.shape[2] : 1;
      for (uint64_t i = 0; i < matrices; ++i) {
        JLLM_FUZZ_CHECK(matrix->columns(tensor.name, i).size() == tensor.shape[0]);
      }
    }
  } else {
    JLLM_FUZZ_CHECK(!take_error(matrix.takeError()).second.empty());
  }
  llvm::Expected<gguf::Adapter> adapter = gguf::Adapter::open({input.path(), 0.5}, model);
  if (!adapter) {
    JLLM_FUZZ_CHECK(!take_error(adapter.takeError()).second.empty());
    return;
  }
  for (const auto& [name, pair] : adapter->pairs()) {
    const gguf::TensorInfo& tensor = *model.find_tensor(name);
    gguf::AdapterRows rows(*adapter, pair, tensor.shape[0]);
    rows.select(0);
    std::vector<float> change(tensor.shape[0]);
    for (uint64_t row = 0; row < tensor.shape[1]; ++row) rows.add(row, change.data());
  }
}

}  // namespace
}  // namespace jllm::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  jllm::fuzz::run(data, size);
  return 0;
}
