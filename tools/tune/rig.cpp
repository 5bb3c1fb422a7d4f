#include "tools/tune/rig.h"

#include <cstddef>
#include <cstring>

#include "compiler/emit/weight_stream.h"
#include "compiler/support/error.h"
#include "schema/step_state.h"

namespace jllm::tune {
namespace {

constexpr int kOverlapDriver = 12030;        // CUDA 12.3: programmatic edges in graphs
constexpr uint64_t kSpareScratch = 4 << 20;  // what variants may need more

// Kernels of one name and one set of constants are one.
std::string key_of(const select::KernelSpec& kernel) {
  std::string key = kernel.name;
  for (const std::string& define : kernel.defines) key += " " + define;
  return key;
}

const select::ScheduledGraph& decode_graph(const PlannedModel& planned) {
  for (const select::ScheduledGraph& graph : planned.schedule.graphs) {
    if (graph.kind == ir::GraphKind::kDecode) return graph;
  }
  return planned.schedule.graphs[0];
}

}  // namespace

Rig::~Rig() {
  if (context_ == nullptr) return;
  if (stream_ != nullptr) (void)api_.stream_synchronize(stream_);
  for (const cuda::Module module : modules_) (void)api_.module_unload(module);
  for (const cuda::DevicePtr arena : arenas_) (void)api_.mem_free(arena);
  for (const cuda::Event event : {start_, end_}) {
    if (event != nullptr) (void)api_.event_destroy(event);
  }
  if (stream_ != nullptr) (void)api_.stream_destroy(stream_);
  (void)api_.primary_ctx_release(device_);
}

llvm::Error Rig::check(cuda::Status status, const char* call) const {
  if (status == cuda::kSuccess) return llvm::Error::success();
  const char *name = nullptr, *text = nullptr;
  if (api_.get_error_name(status, &name) != cuda::kSuccess) name = "unknown error";
  if (api_.get_error_string(status, &text) != cuda::kSuccess) text = "";
  return fail(ExitCode::kDevice, "{0} failed: {1}: {2}", call, name, text);
}

#define JLLM_CHECK(call)                                             \
  do {                                                               \
    if (llvm::Error error_ = check(api_.call, #call)) return error_; \
  } while (false)

llvm::Error Rig::open() {
  if (const char* reason = cuda::load_cuda_api(&api_)) {
    return fail(ExitCode::kDevice,
                "tuning measures on an NVIDIA GPU, and there is none: {0}; run jllmc tune on the "
                "device, or compile without a table: the cost model decides then",
                reason);
  }
  int count = 0;
  if (api_.init(0) != cuda::kSuccess || api_.device_get_count(&count) != cuda::kSuccess ||
      count == 0) {
    return fail(ExitCode::kDevice, "tuning measures on an NVIDIA GPU: the driver reports none");
  }
  int major = 0, minor = 0, multiprocessors = 0, driver = 0;
  char name[128] = {0};
  JLLM_CHECK(device_get(&device_, 0));
  JLLM_CHECK(device_get_name(name, sizeof name, device_));
  JLLM_CHECK(device_get_attribute(&major, cuda::kAttributeComputeCapabilityMajor, device_));
  JLLM_CHECK(device_get_attribute(&minor, cuda::kAttributeComputeCapabilityMinor, device_));
  JLLM_CHECK(primary_ctx_retain(&context_, device_));
  JLLM_CHECK(ctx_set_current(context_));
  JLLM_CHECK(device_get_attribute(&multiprocessors, cuda::kAttributeMultiprocessorCount, device_));
  JLLM_CHECK(driver_get_version(&driver));
  JLLM_CHECK(stream_create(&stream_, cuda::kStreamNonBlocking));
  JLLM_CHECK(event_create(&start_, cuda::kEventDefault));
  JLLM_CHECK(event_create(&end_, cuda::kEventDefault));
  facts_.name = name;
  facts_.compute_capability = static_cast<uint32_t>(10 * major + minor);
  facts_.sm_count = static_cast<uint32_t>(multiprocessors);
  facts_.driver_major = static_cast<uint32_t>(driver / 1000);
  overlap_ = driver >= kOverlapDriver && api_.launch_kernel_ex != nullptr;
  return llvm::Error::success();
}

llvm::Error Rig::write(cuda::DevicePtr to, const void* from, uint64_t bytes) {
  JLLM_CHECK(memcpy_htod_async(to, from, bytes, stream_));
  JLLM_CHECK(stream_synchronize(stream_));
  return llvm::Error::success();
}

llvm::Error Rig::upload(const PlannedModel& planned, uint32_t arena,
                        const std::function<void(uint64_t)>& progress) {
  uint64_t offset = 0;
  return emit::stream_weights(
      *planned.model.file, planned.program, planned.layout, arena, false, nullptr,
      [&](llvm::ArrayRef<uint8_t> piece) -> llvm::Error {
        // Pieces come from a thread of their own.
        JLLM_CHECK(ctx_set_current(context_));
        if (llvm::Error error = write(arenas_[arena] + offset, piece.data(), piece.size())) {
          return error;
        }
        offset += piece.size();
        progress(piece.size());
        return llvm::Error::success();
      });
}

llvm::Error Rig::load(const PlannedModel& planned,
                      const std::function<void(uint64_t done, uint64_t total)>& progress) {
  const memory::Layout& layout = planned.layout;
  const uint64_t total = layout.total(memory::ArenaKind::kWeights);
  uint64_t done = 0;
  for (uint32_t i = 0; i < layout.arenas.size(); ++i) {
    const memory::Arena& arena = layout.arenas[i];
    const uint64_t bytes =
        arena.size + (arena.kind == memory::ArenaKind::kScratch ? kSpareScratch : 256);
    cuda::DevicePtr memory = 0;
    if (api_.mem_alloc(&memory, bytes) != cuda::kSuccess) {
      return fail(ExitCode::kDevice, "no device memory for an arena of {0} MiB ({1})", bytes >> 20,
                  memory::arena_name(arena.kind));
    }
    arenas_.push_back(memory);
    sizes_.push_back(bytes);
    JLLM_CHECK(memset_d8_async(memory, 0, bytes, stream_));
    if (arena.kind != memory::ArenaKind::kWeights) continue;
    if (llvm::Error error =
            upload(planned, i, [&](uint64_t bytes_more) { progress(done += bytes_more, total); })) {
      return error;
    }
  }
  const auto at = [&](ir::TensorId id) { return *layout.tensors[id]; };
  state_ = at(planned.program.bindings.state);
  tokens_ = at(planned.program.bindings.tokens);
  logits_ = at(planned.program.bindings.logits);
  sequence_length_ = planned.program.context;
  vocab_size_ = planned.model.params.vocab_size;
  return llvm::Error::success();
}

bool Rig::has(const select::KernelSpec& kernel) const {
  return functions_.count(key_of(kernel)) != 0;
}

llvm::Error Rig::add(const select::KernelSpec& kernel, const std::vector<uint8_t>& code) {
  cuda::Module module = nullptr;
  cuda::Function function = nullptr;
  JLLM_CHECK(module_load_data(&module, code.data()));
  modules_.push_back(module);
  JLLM_CHECK(module_get_function(&function, module, kernel.name.c_str()));
  if (kernel.shared_bytes > 0) {
    JLLM_CHECK(func_set_attribute(function, cuda::kFunctionMaxDynamicSharedSizeBytes,
                                  static_cast<int>(kernel.shared_bytes)));
  }
  functions_[key_of(kernel)] = function;
  return llvm::Error::success();
}

llvm::Error Rig::launch(const select::KernelSpec& kernel, const select::Launch& launch,
                        const memory::Layout& layout) {
  std::vector<uint64_t> values;
  for (const select::Argument& argument : launch.args) {
    if (argument.kind == select::Argument::Kind::kImmediate) {
      values.push_back(argument.immediate);
      continue;
    }
    const memory::Location& location = *layout.tensors[argument.tensor];
    if (location.offset + location.size > sizes_[location.arena]) {
      return fail(ExitCode::kFailed, "internal: a variant needs more scratch than was taken");
    }
    values.push_back(address(location));
  }
  std::vector<void*> pointers;
  for (uint64_t& value : values) pointers.push_back(&value);
  const cuda::Function function = functions_.at(key_of(kernel));
  cuda::LaunchAttribute attribute = {cuda::kLaunchProgrammaticStreamSerialization, 0, {1}};
  const cuda::LaunchConfig config = {launch.grid[0],
                                     launch.grid[1],
                                     launch.grid[2],
                                     kernel.block,
                                     1,
                                     1,
                                     kernel.shared_bytes,
                                     stream_,
                                     &attribute,
                                     1};
  if (overlap_ && kernel.programmatic) {
    return check(api_.launch_kernel_ex(&config, function, pointers.data(), nullptr),
                 kernel.name.c_str());
  }
  return check(
      api_.launch_kernel(function, config.grid_x, config.grid_y, config.grid_z, config.block_x, 1,
                         1, config.shared_bytes, stream_, pointers.data(), nullptr),
      kernel.name.c_str());
}

llvm::Error Rig::launch_all(const PlannedModel& planned) {
  for (const select::Launch& each : decode_graph(planned).launches) {
    if (llvm::Error error = launch(planned.schedule.kernels[each.kernel], each, planned.layout)) {
      return error;
    }
  }
  return llvm::Error::success();
}

llvm::Expected<cuda::GraphExec> Rig::capture(const PlannedModel& planned) {
  JLLM_CHECK(stream_begin_capture(stream_, cuda::kStreamCaptureThreadLocal));
  llvm::Error error = launch_all(planned);
  cuda::Graph graph = nullptr;
  const cuda::Status ended = api_.stream_end_capture(stream_, &graph);
  if (error) return error;
  if (llvm::Error problem = check(ended, "stream_end_capture")) return problem;
  cuda::GraphExec executable = nullptr;
  const cuda::Status made = api_.graph_instantiate(&executable, graph, 0);
  (void)api_.graph_destroy(graph);
  if (llvm::Error problem = check(made, "graph_instantiate")) return problem;
  JLLM_CHECK(graph_upload(executable, stream_));
  return executable;
}

void Rig::release(cuda::GraphExec graph) {
  (void)api_.stream_synchronize(stream_);
  (void)api_.graph_exec_destroy(graph);
}

// A sequence of position + 1 tokens, of which the last is to be consumed next.
llvm::Error Rig::start_sequence(uint32_t position) {
  StepState state = {};
  state.position = position;
  state.count = position + 1;
  state.context = sequence_length_;
  state.top_p = state.repeat_penalty = 1.0f;
  state.ignore_end = 1;
  return write(address(state_), &state, sizeof state);
}

llvm::Expected<double> Rig::time(cuda::GraphExec graph, uint32_t tokens) {
  if (llvm::Error error = start_sequence(0)) return error;
  JLLM_CHECK(event_record(start_, stream_));
  for (uint32_t i = 0; i < tokens; ++i) JLLM_CHECK(graph_launch(graph, stream_));
  JLLM_CHECK(event_record(end_, stream_));
  JLLM_CHECK(event_synchronize(end_));
  float milliseconds = 0;
  JLLM_CHECK(event_elapsed_time(&milliseconds, start_, end_));
  return 1e3 * double(milliseconds) / tokens;
}

llvm::Expected<std::vector<float>> Rig::logits(cuda::GraphExec graph) {
  constexpr uint32_t kTokens[] = {1, 7, 3, 11};
  for (uint32_t i = 0; i < std::size(kTokens); ++i) {
    const uint32_t token = kTokens[i] % vocab_size_;
    if (llvm::Error error = start_sequence(i)) return error;
    if (llvm::Error error = write(address(tokens_) + 4 * i, &token, sizeof token)) return error;
    JLLM_CHECK(graph_launch(graph, stream_));
  }
  std::vector<float> out(vocab_size_);
  JLLM_CHECK(memcpy_dtoh_async(out.data(), address(logits_), out.size() * 4, stream_));
  JLLM_CHECK(stream_synchronize(stream_));
  return out;
}

#undef JLLM_CHECK

}  // namespace jllm::tune
