// The bytes of one weights arena, in order: repacked matrices, f32 constants, zero padding between
// them.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <functional>

#include "compiler/gguf/file.h"
#include "compiler/gguf/requantise.h"
#include "compiler/ir/graph.h"
#include "compiler/memory/layout.h"

namespace jllm::emit {

// Calls `sink` with consecutive pieces of at most a few MiB until the arena's size is reached. The
// sink may run while the next piece is made, but never twice at the same time. `edits` may be null.
llvm::Error stream_weights(const gguf::File& file, const ir::Program& program,
                           const memory::Layout& layout, uint32_t arena, bool is_host,
                           gguf::Edits* edits,
                           const std::function<llvm::Error(llvm::ArrayRef<uint8_t>)>& sink);

}  // namespace jllm::emit
