// A second proof of a plan's layout, from the plan alone: it shares no code with the planner.
#include <llvm/Support/FileSystem.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Support/Path.h>
#include <llvm/Support/SHA256.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "compiler/inspect/inspect.h"
#include "compiler/support/error.h"
#include "schema/weight_file.h"

namespace jllm::inspect {
namespace {

bool share_bytes(const fb::Buffer& a, const fb::Buffer& b) {
  return a.arena() == b.arena() && a.offset() < b.offset() + b.size() &&
         b.offset() < a.offset() + a.size();
}

// Two graphs never run at the same time, so their scratch may share bytes; what lives always meets
// everything.
bool live_together(const fb::Buffer& a, const fb::Buffer& b) {
  if (a.graph() < 0 || b.graph() < 0) return true;
  return a.graph() == b.graph() && a.first_use() <= b.last_use() && b.first_use() <= a.last_use();
}

llvm::Error verify_buffers(const PlanFile& file) {
  std::vector<const fb::Buffer*> buffers(file.plan().buffers()->begin(),
                                         file.plan().buffers()->end());
  // By place: only neighbours in the sorted order can share bytes.
  std::sort(buffers.begin(), buffers.end(), [](const fb::Buffer* a, const fb::Buffer* b) {
    return a->arena() != b->arena() ? a->arena() < b->arena() : a->offset() < b->offset();
  });
  for (size_t i = 0; i < buffers.size(); ++i) {
    for (size_t j = i + 1; j < buffers.size(); ++j) {
      const bool beyond = buffers[j]->arena() != buffers[i]->arena() ||
                          buffers[j]->offset() >= buffers[i]->offset() + buffers[i]->size();
      if (beyond) break;
      if (share_bytes(*buffers[i], *buffers[j]) && live_together(*buffers[i], *buffers[j])) {
        return fail(ExitCode::kInvalidFile, "{0}: buffers {1} and {2} overlap while both are alive",
                    file.path(), buffers[i]->name()->c_str(), buffers[j]->name()->c_str());
      }
    }
  }
  return llvm::Error::success();
}

llvm::Error verify_launches(const PlanFile& file) {
  const fb::Plan& plan = file.plan();
  for (uint32_t g = 0; g < plan.graphs()->size(); ++g) {
    const fb::Graph& graph = *plan.graphs()->Get(g);
    for (uint32_t i = 0; i < graph.launches()->size(); ++i) {
      for (const fb::Arg* arg : *graph.launches()->Get(i)->args()) {
        if (arg->kind() != fb::ArgKind::Pointer) continue;
        const bool found = std::any_of(
            plan.buffers()->begin(), plan.buffers()->end(), [&](const fb::Buffer* buffer) {
              const bool alive =
                  buffer->graph() < 0 || (buffer->graph() == static_cast<int32_t>(g) &&
                                          i >= buffer->first_use() && i <= buffer->last_use());
              return alive && buffer->arena() == arg->arena() && arg->value() >= buffer->offset() &&
                     arg->value() + arg->bytes() <= buffer->offset() + buffer->size();
            });
        if (!found) {
          return fail(
              ExitCode::kInvalidFile,
              "{0}: launch {1} ({2}) reaches bytes {3}+{4} of arena {5}, where no buffer is alive",
              file.path(), i, graph.launches()->Get(i)->label()->c_str(), arg->value(),
              arg->bytes(), arg->arena());
        }
      }
    }
  }
  return llvm::Error::success();
}

// The weight file lies beside the plan; its first bytes must be those that the plan expects.
llvm::Expected<std::string> find_weights(const PlanFile& file) {
  const fb::WeightFile* wanted = file.plan().weight_file();
  if (wanted == nullptr) return std::string();
  llvm::SmallString<128> path = llvm::sys::path::parent_path(file.path());
  llvm::sys::path::append(path, wanted->name()->c_str());
  uint64_t size = 0;
  const std::error_code missing = llvm::sys::fs::file_size(path, size);
  if (missing) {
    return fail(ExitCode::kFailed, "{0}: the plan's weight file: {1}", path.str(),
                missing.message());
  }
  auto header = llvm::MemoryBuffer::getFileSlice(path, std::min(size, kWeightFileData), 0);
  if (!header) return fail(ExitCode::kFailed, "{0}: {1}", path, header.getError().message());
  Message message;
  const llvm::StringRef bytes = (*header)->getBuffer();
  const Error error =
      check_weight_file(file.view(), bytes.bytes_begin(), bytes.size(), size, &message);
  if (error != Error::kOk) return fail(ExitCode::kInvalidFile, "{0}: {1}", path, message.text);
  return path.str().str();
}

llvm::Error verify_hashes(const PlanFile& file) {
  constexpr uint64_t kPiece = 16u << 20;
  llvm::Expected<std::string> found = find_weights(file);
  if (!found) return found.takeError();
  const std::string& weights = *found;
  for (const fb::Segment* segment : *file.plan().segments()) {
    const std::string& path = segment->in_weight_file() ? weights : file.path();
    llvm::SHA256 hash;
    for (uint64_t done = 0; done < segment->size(); done += kPiece) {
      const uint64_t n = std::min(kPiece, segment->size() - done);
      auto piece = llvm::MemoryBuffer::getFileSlice(path, n, segment->offset() + done);
      if (!piece) return fail(ExitCode::kFailed, "{0}: {1}", path, piece.getError().message());
      hash.update((*piece)->getBuffer());
    }
    const auto digest = hash.final();
    if (std::memcmp(digest.data(), segment->sha256()->data(), segment->sha256()->size()) != 0) {
      return fail(ExitCode::kInvalidFile,
                  "{0}: the {1} segment at {2} is damaged: its SHA-256 differs", path,
                  fb::EnumNameSegmentKind(segment->kind()), segment->offset());
    }
  }
  return llvm::Error::success();
}

}  // namespace

llvm::Error verify_plan(const PlanFile& file) {
  if (llvm::Error error = verify_buffers(file)) return error;
  if (llvm::Error error = verify_launches(file)) return error;
  return verify_hashes(file);
}

}  // namespace jllm::inspect
