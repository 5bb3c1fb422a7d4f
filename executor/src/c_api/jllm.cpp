// The C ABI, jllm.h: structs are taken apart, the rest is PlanView's and Executor's.
#include "jllm/jllm.h"

#include <cinttypes>
#include <cstddef>
#include <cstring>
#include <new>

#include "executor/src/c_api/options.h"
#include "jllm/executor.h"
#include "jllm/plan.h"
#include "jllm_version.h"
#include "schema/plan_view.h"
#include "schema/token_pieces.h"

// An open plan, in the caller's block.
struct jllm_plan {
  explicit jllm_plan(const void* data, uint64_t size) : in_memory(data, size), bytes(data) {}

  jllm::MemorySource in_memory;
  jllm::FileSource file;
  const void* bytes;  // null: read from the file
  jllm::PlanView view;
  jllm::TokenPieces pieces;

  jllm::PlanSource& source() {
    if (bytes != nullptr) return in_memory;
    return file;
  }
};

namespace {

using jllm::Error;
using jllm::Executor;
using jllm::ExecutorOptions;
using jllm::Message;
using jllm::Result;

static_assert(sizeof(jllm_plan) <= JLLM_PLAN_BYTES, "what jllm.h promises");
static_assert(sizeof(jllm_message) == sizeof(Message), "the same line");
static_assert(JLLM_SEGMENT_TOKENIZER == int(jllm::fb::SegmentKind::Tokenizer), "the plan's number");
static_assert(JLLM_SEGMENT_CHAT_FORMAT == int(jllm::fb::SegmentKind::ChatFormat),
              "the plan's number");
static_assert(JLLM_END_TOKEN == int(jllm::kEndToken), "");
static_assert(JLLM_END_OF_CONTEXT == int(jllm::kContextFull), "");
static_assert(JLLM_STEP_PROMPT == int(jllm::Progress::kPrompt), "");
static_assert(JLLM_STEP_TOKEN == int(jllm::Progress::kToken), "");
static_assert(JLLM_STEP_END == int(jllm::Progress::kEnd), "");
#define JLLM_SAME(c, cpp) static_assert(uint32_t{c} == static_cast<uint32_t>(Error::cpp), "")
JLLM_SAME(JLLM_OK, kOk);
JLLM_SAME(JLLM_NOT_A_PLAN, kNotAPlan);
JLLM_SAME(JLLM_PLAN_VERSION, kPlanVersion);
JLLM_SAME(JLLM_PLAN_TRUNCATED, kPlanTruncated);
JLLM_SAME(JLLM_PLAN_DAMAGED, kPlanDamaged);
JLLM_SAME(JLLM_PLAN_INVALID, kPlanInvalid);
JLLM_SAME(JLLM_TARGET_MISMATCH, kTargetMismatch);
JLLM_SAME(JLLM_UNKNOWN_KERNEL, kUnknownKernel);
JLLM_SAME(JLLM_READ_FAILED, kReadFailed);
JLLM_SAME(JLLM_HOST_MEMORY_TOO_SMALL, kHostMemoryTooSmall);
JLLM_SAME(JLLM_DEVICE_MEMORY, kDeviceMemory);
JLLM_SAME(JLLM_PINNED_MEMORY, kPinnedMemory);
JLLM_SAME(JLLM_NO_DRIVER, kNoDriver);
JLLM_SAME(JLLM_NO_DEVICE, kNoDevice);
JLLM_SAME(JLLM_DRIVER_TOO_OLD, kDriverTooOld);
JLLM_SAME(JLLM_DRIVER_CALL, kDriverCall);
JLLM_SAME(JLLM_THREADS, kThreads);
JLLM_SAME(JLLM_BAD_ARGUMENT, kBadArgument);
JLLM_SAME(JLLM_CONTEXT_FULL, kContextFull);
JLLM_SAME(JLLM_NOTHING_TO_DO, kNothingToDo);
JLLM_SAME(JLLM_BAD_LOGITS, kBadLogits);
#undef JLLM_SAME

// A plan's own structures begin behind the handle in its block.
constexpr uint64_t kHandleBytes = JLLM_PLAN_BYTES;

jllm_error code(Error error) { return static_cast<jllm_error>(error); }

// The message that functions write to, null or not.
class Reason {
 public:
  explicit Reason(jllm_message* out) : out_(out) {}
  ~Reason() {
    if (out_ != nullptr) memcpy(out_->text, message.text, sizeof out_->text);
  }
  Reason(const Reason&) = delete;
  Reason& operator=(const Reason&) = delete;
  Message message;

 private:
  jllm_message* out_;
};

Executor& executor_of(jllm_executor* executor) { return *reinterpret_cast<Executor*>(executor); }
const Executor& executor_of(const jllm_executor* executor) {
  return *reinterpret_cast<const Executor*>(executor);
}

bool is_block(const void* memory, uint64_t size, uint64_t needed, Message* message) {
  if (memory != nullptr && size >= needed &&
      reinterpret_cast<uintptr_t>(memory) % JLLM_ALIGNMENT == 0) {
    return true;
  }
  message->format("the plan needs a 64-byte aligned block of %" PRIu64 " bytes, got %" PRIu64,
                  needed, size);
  return false;
}

// *weight_file may be null.
bool read_options(const jllm_options* given, ExecutorOptions* out, const char** weight_file) {
  jllm_options options = JLLM_OPTIONS_INIT;
  if (given != nullptr && !jllm::c_api::take(given, &options)) return false;
  *weight_file = options.weight_file;
  out->threads = options.threads;
  out->device = options.device;
  out->graphs = options.eager == 0;
  out->arena_memory = options.arena_memory;
  out->arena_memory_size = options.arena_memory_size;
  return true;
}

jllm_error token_or_error(const Result<jllm::SampledToken>& sampled, jllm_token* token) {
  if (sampled.ok()) *token = {sampled.value().id, sampled.value().done};
  return code(sampled.error());
}

const jllm::fb::Segment* segment_of(const jllm_plan* plan, uint32_t kind) {
  return plan->view.find_segment(static_cast<jllm::fb::SegmentKind>(kind));
}

// Reads a file's first bytes into the block behind the handle, and proves them.
Error open_head(jllm_plan* plan, uint8_t* block, uint64_t block_size, Message* message) {
  const uint64_t file_size = plan->source().size();
  uint8_t* const head = block + kHandleBytes;
  const uint64_t first =
      file_size < sizeof(jllm::PlanPrefix) ? file_size : sizeof(jllm::PlanPrefix);
  if (!is_block(block, block_size, kHandleBytes + first, message))
    return Error::kHostMemoryTooSmall;
  if (plan->source().read(0, first, head) != Error::kOk) return Error::kReadFailed;
  const Result<uint64_t> size = jllm::PlanView::head_size(head, first, file_size, message);
  if (!size.ok()) return size.error();
  if (!is_block(block, block_size, kHandleBytes + size.value(), message)) {
    return Error::kHostMemoryTooSmall;
  }
  if (plan->source().read(0, size.value(), head) != Error::kOk) {
    message->format("the plan cannot be read");
    return Error::kReadFailed;
  }
  const Result<jllm::PlanView> view = jllm::PlanView::open(head, size.value(), file_size, message);
  if (view.ok()) plan->view = view.value();
  return view.error();
}

Error open_in_memory(jllm_plan* plan, const uint8_t* data, uint64_t size, Message* message) {
  if (reinterpret_cast<uintptr_t>(data) % JLLM_ALIGNMENT != 0) {
    message->format("the plan must stand at a multiple of 64 bytes");
    return Error::kBadArgument;
  }
  const Result<jllm::PlanView> view = jllm::PlanView::open(data, size, size, message);
  if (!view.ok()) return view.error();
  plan->view = view.value();
  const jllm::fb::Segment* segment = segment_of(plan, JLLM_SEGMENT_TOKENIZER);
  if (segment == nullptr) return Error::kOk;
  return plan->pieces.open(data + segment->offset(), segment->size(), message);
}

}  // namespace

const jllm::PlanView& jllm::view_of(const jllm_plan* plan) { return plan->view; }
jllm::PlanSource& jllm::source_of(jllm_plan* plan) { return plan->source(); }

extern "C" {

uint32_t jllm_abi_version(void) { return JLLM_ABI_VERSION; }
const char* jllm_version(void) { return JLLM_VERSION; }
const char* jllm_error_name(jllm_error error) {
  return jllm::error_name(static_cast<Error>(error));
}

jllm_error jllm_plan_open_memory(const void* data, uint64_t size, void* memory,
                                 uint64_t memory_size, jllm_plan** plan, jllm_message* message) {
  Reason reason(message);
  *plan = nullptr;
  if (!is_block(memory, memory_size, JLLM_PLAN_BYTES, &reason.message)) {
    return JLLM_HOST_MEMORY_TOO_SMALL;
  }
  auto* opened = new (memory) jllm_plan(data, size);
  const Error error =
      open_in_memory(opened, static_cast<const uint8_t*>(data), size, &reason.message);
  if (error == Error::kOk) *plan = opened;
  return code(error);
}

jllm_error jllm_plan_file_bytes(const char* path, uint64_t* bytes, jllm_message* message) {
  Reason reason(message);
  *bytes = 0;
  jllm::FileSource file;
  const Error error = file.open(path, &reason.message);
  if (error != Error::kOk) return code(error);
  jllm::PlanPrefix prefix = {};
  const uint64_t first = file.size() < sizeof prefix ? file.size() : sizeof prefix;
  if (file.read(0, first, &prefix) != Error::kOk) {
    reason.message.format("%s cannot be read", path);
    return JLLM_READ_FAILED;
  }
  const Result<uint64_t> size = jllm::PlanView::head_size(reinterpret_cast<const uint8_t*>(&prefix),
                                                          first, file.size(), &reason.message);
  if (size.ok()) *bytes = kHandleBytes + size.value();
  return code(size.error());
}

jllm_error jllm_plan_open_file(const char* path, void* memory, uint64_t memory_size,
                               jllm_plan** plan, jllm_message* message) {
  Reason reason(message);
  *plan = nullptr;
  if (!is_block(memory, memory_size, kHandleBytes, &reason.message)) {
    return JLLM_HOST_MEMORY_TOO_SMALL;
  }
  auto* opened = new (memory) jllm_plan(nullptr, 0);
  Error error = opened->file.open(path, &reason.message);
  if (error == Error::kOk) {
    error = open_head(opened, static_cast<uint8_t*>(memory), memory_size, &reason.message);
  }
  if (error == Error::kOk) {
    *plan = opened;
  } else {
    opened->~jllm_plan();
  }
  return code(error);
}

void jllm_plan_close(jllm_plan* plan) {
  if (plan != nullptr) plan->~jllm_plan();
}

jllm_error jllm_plan_describe(const jllm_plan* plan, jllm_plan_info* out) {
  const jllm::fb::Plan& tables = plan->view.plan();
  jllm_plan_info info = JLLM_PLAN_INFO_INIT;
  info.is_host = plan->view.is_host() ? 1 : 0;
  info.context = tables.model()->context();
  info.vocab_size = tables.model()->vocab_size();
  for (const jllm::fb::Graph* graph : *tables.graphs()) {
    if (graph->kind() != jllm::fb::GraphKind::Prefill) continue;
    if (graph->rows() > info.longest_replay) info.longest_replay = graph->rows();
  }
  for (const jllm::fb::Arena* arena : *tables.arenas()) info.device_bytes += arena->size();
  info.embedding_length = tables.bindings()->embedding();
  info.model = tables.model()->name()->c_str();
  info.architecture = tables.model()->architecture()->c_str();
  const jllm::fb::WeightFile* weights = tables.weight_file();
  if (weights != nullptr) info.weight_file = weights->name()->c_str();
  return jllm::c_api::give(info, out) ? JLLM_OK : JLLM_BAD_ARGUMENT;
}

uint32_t jllm_plan_piece(const jllm_plan* plan, uint32_t token, char* out, uint32_t capacity) {
  return plan->pieces.piece(token, out, capacity);
}

uint64_t jllm_plan_segment_bytes(const jllm_plan* plan, uint32_t kind) {
  const jllm::fb::Segment* segment = segment_of(plan, kind);
  return segment != nullptr ? segment->size() : 0;
}

jllm_error jllm_plan_read_segment(const jllm_plan* plan, uint32_t kind, void* out, uint64_t size) {
  const jllm::fb::Segment* segment = segment_of(plan, kind);
  if (segment == nullptr || size < segment->size()) return JLLM_BAD_ARGUMENT;
  // Reading changes nothing in either source.
  jllm::PlanSource& source = const_cast<jllm_plan*>(plan)->source();
  return code(source.read(segment->offset(), segment->size(), out));
}

jllm_error jllm_require(const jllm_plan* plan, const jllm_options* options,
                        jllm_requirements* out) {
  ExecutorOptions taken;
  const char* weight_file = nullptr;
  if (!read_options(options, &taken, &weight_file)) return JLLM_BAD_ARGUMENT;
  jllm_requirements requirements = JLLM_REQUIREMENTS_INIT;
  requirements.alignment = JLLM_ALIGNMENT;
  requirements.executor_bytes = Executor::required_bytes(plan->view, taken);
  requirements.arena_bytes = Executor::arena_bytes(plan->view);
  return jllm::c_api::give(requirements, out) ? JLLM_OK : JLLM_BAD_ARGUMENT;
}

jllm_error jllm_create(const jllm_plan* plan, const jllm_options* options, void* memory,
                       uint64_t memory_size, jllm_executor** executor, jllm_message* message) {
  Reason reason(message);
  *executor = nullptr;
  ExecutorOptions taken;
  const char* weight_file = nullptr;
  if (!read_options(options, &taken, &weight_file)) {
    reason.message.format(
        "jllm_options of %u bytes: begin with JLLM_OPTIONS_INIT; or was the program built for a "
        "newer library?",
        options->struct_size);
    return JLLM_BAD_ARGUMENT;
  }
  jllm::FileSource weights;
  if (weight_file != nullptr) {
    const Error error = weights.open(weight_file, &reason.message);
    if (error != Error::kOk) return code(error);
    taken.weights = &weights;
  }
  const Result<Executor*> created =
      Executor::create(plan->view, const_cast<jllm_plan*>(plan)->source(), memory, memory_size,
                       taken, &reason.message);
  if (created.ok()) *executor = reinterpret_cast<jllm_executor*>(created.value());
  return code(created.error());
}

void jllm_destroy(jllm_executor* executor) {
  if (executor != nullptr) executor_of(executor).destroy();
}

jllm_error jllm_set_sampling(jllm_executor* executor, const jllm_sampling* given) {
  jllm_sampling taken = JLLM_SAMPLING_INIT;
  if (!jllm::c_api::take(given, &taken)) return JLLM_BAD_ARGUMENT;
  jllm::Sampling sampling;
  sampling.temperature = taken.temperature;
  sampling.top_k = taken.top_k;
  sampling.top_p = taken.top_p;
  sampling.min_p = taken.min_p;
  sampling.repeat_penalty = taken.repeat_penalty;
  sampling.repeat_last_n = taken.repeat_last_n;
  sampling.ignore_end = taken.ignore_end != 0;
  sampling.seed = taken.seed;
  return code(executor_of(executor).set_sampling(sampling));
}

jllm_error jllm_prefill(jllm_executor* executor, const uint32_t* tokens, uint32_t count) {
  return code(executor_of(executor).prefill(tokens, count));
}

jllm_error jllm_generate(jllm_executor* executor, uint32_t wanted, jllm_token* token) {
  return token_or_error(executor_of(executor).generate(wanted), token);
}

void jllm_set_speculation(jllm_executor* executor, uint32_t most) {
  executor_of(executor).set_speculation(most);
}

jllm_error jllm_enqueue(jllm_executor* executor) { return code(executor_of(executor).enqueue()); }

jllm_error jllm_next(jllm_executor* executor, jllm_token* token) {
  return token_or_error(executor_of(executor).next(), token);
}

jllm_error jllm_begin(jllm_executor* executor, const uint32_t* tokens, uint32_t count) {
  return code(executor_of(executor).begin(tokens, count));
}

jllm_error jllm_step(jllm_executor* executor, jllm_progress* progress) {
  const Result<jllm::Progress> done = executor_of(executor).step();
  const jllm::Progress& p = done.value();
  if (done.ok()) *progress = {p.event, p.consumed, p.total, {p.token.id, p.token.done}};
  return code(done.error());
}

jllm_error jllm_rewind(jllm_executor* executor, uint32_t count) {
  return code(executor_of(executor).rewind(count));
}

uint64_t jllm_prefix_bytes(const jllm_executor* executor, uint32_t count) {
  return executor_of(executor).prefix_bytes(count);
}

jllm_error jllm_save_prefix(jllm_executor* executor, uint32_t count, uint64_t offset, void* out,
                            uint64_t size) {
  return code(executor_of(executor).save_prefix(count, offset, out, size));
}

jllm_error jllm_load_prefix(jllm_executor* executor, const uint32_t* tokens, uint32_t count,
                            uint64_t offset, const void* in, uint64_t size) {
  return code(executor_of(executor).load_prefix(tokens, count, offset, in, size));
}

jllm_error jllm_force(jllm_executor* executor, uint32_t token) {
  return code(executor_of(executor).force(token));
}

jllm_error jllm_read_logits(jllm_executor* executor, float* logits, uint32_t count) {
  if (count != executor_of(executor).vocab_size()) return JLLM_BAD_ARGUMENT;
  return code(executor_of(executor).read_logits(logits));
}

jllm_error jllm_embedding(jllm_executor* executor, float* vector, uint32_t count) {
  return code(executor_of(executor).embedding(vector, count));
}

uint32_t jllm_count(const jllm_executor* executor) { return executor_of(executor).count(); }
uint32_t jllm_in_flight(const jllm_executor* executor) { return executor_of(executor).in_flight(); }

jllm_error jllm_memory_use(const jllm_executor* executor, jllm_memory* out) {
  const jllm::MemoryUse& use = executor_of(executor).memory_use();
  jllm_memory memory = JLLM_MEMORY_INIT;
  memory.weights = use.weights;
  memory.kv = use.kv;
  memory.scratch = use.scratch;
  memory.state = use.state;
  memory.pinned = use.pinned;
  return jllm::c_api::give(memory, out) ? JLLM_OK : JLLM_BAD_ARGUMENT;
}

const char* jllm_device_name(const jllm_executor* executor) {
  return executor_of(executor).device_name();
}

const char* jllm_last_error(const jllm_executor* executor) {
  return executor_of(executor).last_error();
}

}  // extern "C"
