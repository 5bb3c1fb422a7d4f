#include "tests/support/edited_plan.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "tests/support/recipe.h"

namespace jllm::test {

const std::vector<uint8_t>& small_plan() {
  static const std::vector<uint8_t> bytes = [] {
    PlanRecipe recipe;
    recipe.layers = 1;
    recipe.context = 32;
    recipe.prefill_chunk = 16;
    return plan_bytes(recipe);
  }();
  return bytes;
}

std::vector<uint8_t> small_head() {
  PlanPrefix prefix;
  std::memcpy(&prefix, small_plan().data(), sizeof prefix);
  return {small_plan().begin(),
          small_plan().begin() + static_cast<ptrdiff_t>(prefix.plan_offset + prefix.plan_size)};
}

EditedPlan::EditedPlan(const std::vector<uint8_t>& file) {
  std::memcpy(&prefix, file.data(), sizeof prefix);
  fbedit::GetPlan(file.data() + prefix.plan_offset)->UnPackTo(&tables);
  segments_.assign(file.begin() + static_cast<ptrdiff_t>(prefix.segments_offset), file.end());
  // Room for the tables to grow.
  constexpr uint64_t kRoom = 4 * kSegmentAlignment;
  prefix.segments_offset += kRoom;
  prefix.file_size += kRoom;
  for (auto& segment : tables.segments) segment->offset += kRoom;
  // What messages name must not depend on how the compiler names things.
  tables.buffers.front()->name = "first_buffer";
  for (auto& graph : tables.graphs) graph->launches.front()->label = "first_launch";
}

void EditedPlan::become_cuda() {
  tables.target->backend = fbedit::Backend::Cuda;
  tables.target->compute_capability = 87;
  tables.segments[0]->kind = fbedit::SegmentKind::Module;
  for (auto& kernel : tables.kernels) kernel->module_segment = 0;
}

std::vector<uint8_t> EditedPlan::file() const {
  std::vector<uint8_t> bytes = head();
  bytes.resize(prefix.segments_offset);
  bytes.insert(bytes.end(), segments_.begin(), segments_.end());
  return bytes;
}

std::vector<uint8_t> EditedPlan::head() const {
  flatbuffers::FlatBufferBuilder builder;
  fbedit::FinishPlanBuffer(builder, fbedit::Plan::Pack(builder, &tables));
  PlanPrefix fixed = prefix;
  fixed.plan_size = builder.GetSize();
  std::vector<uint8_t> bytes(sizeof fixed + builder.GetSize());
  std::memcpy(bytes.data(), &fixed, sizeof fixed);
  std::memcpy(bytes.data() + sizeof fixed, builder.GetBufferPointer(), builder.GetSize());
  fix_hash(&bytes);
  return bytes;
}

Opened open_head(const std::vector<uint8_t>& head) {
  PlanPrefix prefix = {};
  if (head.size() >= sizeof prefix) std::memcpy(&prefix, head.data(), sizeof prefix);
  return open_head(head, prefix.file_size);
}

Opened open_head(const std::vector<uint8_t>& head, uint64_t file_size) {
  // A block of exactly this size, so that a sanitizer sees any read behind it.
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  const std::unique_ptr<uint8_t, Free> block(static_cast<uint8_t*>(std::malloc(head.size())));
  std::copy(head.begin(), head.end(), block.get());
  Message message;
  const Result<PlanView> view = PlanView::open(block.get(), head.size(), file_size, &message);
  return {view.error(), message.text};
}

void fix_hash(std::vector<uint8_t>* head) {
  const uint64_t hash =
      hash_bytes(head->data() + sizeof(PlanPrefix), head->size() - sizeof(PlanPrefix));
  std::memcpy(head->data() + offsetof(PlanPrefix, plan_hash), &hash, sizeof hash);
}

}  // namespace jllm::test
