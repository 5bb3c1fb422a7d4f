#include "tools/jllm/bench/read_ceiling.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "executor/src/cuda/driver_api.h"
#include "tools/jllm/device_facts.h"
#include "tools/jllm/session.h"

namespace jllm::tool {
namespace {

constexpr uint64_t kHostBytes = 256u << 20;  // well above any cache
constexpr uint64_t kMostDeviceBytes = uint64_t{2} << 30;
constexpr int kTries = 5;  // of which the fastest counts

// Reads `count` pieces of 16 bytes, a multiple of 4 * threads of the grid: each thread four pieces
// at a time, a grid apart. The sum is stored only if it has a value that it will not have, so that
// no load can be left out.
constexpr const char* kKernel = R"(
.version 7.0
.target sm_80
.address_size 64
.visible .entry read_all(.param .u64 data, .param .u64 count, .param .u64 out)
{
  .reg .pred %more, %store;
  .reg .u32 %block, %threads, %thread, %grid, %sum, %a<4>, %b<4>, %c<4>, %e<4>;
  .reg .u64 %from, %to, %step, %p1, %p2, %p3, %out, %wide;
  mov.u32 %block, %ctaid.x;
  mov.u32 %threads, %ntid.x;
  mov.u32 %thread, %tid.x;
  mov.u32 %grid, %nctaid.x;
  mul.lo.u32 %grid, %grid, %threads;
  mul.wide.u32 %step, %grid, 16;
  mad.lo.u32 %thread, %block, %threads, %thread;
  ld.param.u64 %from, [data];
  ld.param.u64 %to, [count];
  ld.param.u64 %out, [out];
  shl.b64 %to, %to, 4;
  add.u64 %to, %to, %from;
  mul.wide.u32 %wide, %thread, 16;
  add.u64 %from, %from, %wide;
  mov.u32 %sum, 0;
AGAIN:
  add.u64 %p1, %from, %step;
  add.u64 %p2, %p1, %step;
  add.u64 %p3, %p2, %step;
  ld.global.v4.u32 {%a0, %a1, %a2, %a3}, [%from];
  ld.global.v4.u32 {%b0, %b1, %b2, %b3}, [%p1];
  ld.global.v4.u32 {%c0, %c1, %c2, %c3}, [%p2];
  ld.global.v4.u32 {%e0, %e1, %e2, %e3}, [%p3];
  add.u32 %a0, %a0, %a1;
  add.u32 %a2, %a2, %a3;
  add.u32 %b0, %b0, %b1;
  add.u32 %b2, %b2, %b3;
  add.u32 %c0, %c0, %c1;
  add.u32 %c2, %c2, %c3;
  add.u32 %e0, %e0, %e1;
  add.u32 %e2, %e2, %e3;
  add.u32 %a0, %a0, %a2;
  add.u32 %b0, %b0, %b2;
  add.u32 %c0, %c0, %c2;
  add.u32 %e0, %e0, %e2;
  add.u32 %a0, %a0, %b0;
  add.u32 %c0, %c0, %e0;
  add.u32 %a0, %a0, %c0;
  add.u32 %sum, %sum, %a0;
  add.u64 %from, %p3, %step;
  setp.lt.u64 %more, %from, %to;
  @%more bra AGAIN;
  setp.eq.u32 %store, %sum, 1;
  @%store st.global.u32 [%out], %sum;
  ret;
}
)";

// Driver objects of one measurement; given back in any state.
struct Device {
  cuda::CudaApi api = {};
  cuda::Device device = 0;
  cuda::Context context = nullptr;
  cuda::Stream stream = nullptr;
  cuda::Module module = nullptr;
  cuda::DevicePtr memory = 0;
  cuda::Event start = nullptr, end = nullptr;

  ~Device() {
    if (context == nullptr) return;
    if (start != nullptr) (void)api.event_destroy(start);
    if (end != nullptr) (void)api.event_destroy(end);
    if (memory != 0) (void)api.mem_free(memory);
    if (module != nullptr) (void)api.module_unload(module);
    if (stream != nullptr) (void)api.stream_destroy(stream);
    (void)api.primary_ctx_release(device);
  }

  bool open(int ordinal) {
    return cuda::load_cuda_api(&api) == nullptr && api.init(0) == cuda::kSuccess &&
           api.device_get(&device, ordinal) == cuda::kSuccess &&
           api.primary_ctx_retain(&context, device) == cuda::kSuccess &&
           api.ctx_set_current(context) == cuda::kSuccess &&
           api.stream_create(&stream, cuda::kStreamNonBlocking) == cuda::kSuccess &&
           api.event_create(&start, cuda::kEventDefault) == cuda::kSuccess &&
           api.event_create(&end, cuda::kEventDefault) == cuda::kSuccess;
  }

  // Seconds of the fastest of some reads of `*bytes`; 0 when something failed.
  double read(uint64_t* bytes) {
    constexpr unsigned kThreads = 256, kBlocksPerMultiprocessor = 8;
    int multiprocessors = 0;
    size_t available = 0, total = 0;
    cuda::Function function = nullptr;
    if (api.device_get_attribute(&multiprocessors, cuda::kAttributeMultiprocessorCount, device) !=
            cuda::kSuccess ||
        api.mem_get_info(&available, &total) != cuda::kSuccess ||
        api.module_load_data(&module, kKernel) != cuda::kSuccess ||
        api.module_get_function(&function, module, "read_all") != cuda::kSuccess) {
      return 0;
    }
    const auto blocks = static_cast<unsigned>(multiprocessors) * kBlocksPerMultiprocessor;
    const uint64_t round = uint64_t{blocks} * kThreads * 4 * 16;
    *bytes = std::min<uint64_t>(kMostDeviceBytes, available / 4) / round * round;
    if (*bytes == 0 || api.mem_alloc(&memory, *bytes) != cuda::kSuccess ||
        api.memset_d8_async(memory, 0x55, *bytes, stream) != cuda::kSuccess) {
      return 0;
    }
    uint64_t count = *bytes / 16, out = memory;
    void* arguments[] = {&memory, &count, &out};
    double best = 0;
    for (int i = 0; i <= kTries; ++i) {
      float milliseconds = 0;
      if (api.event_record(start, stream) != cuda::kSuccess ||
          api.launch_kernel(function, blocks, 1, 1, kThreads, 1, 1, 0, stream, arguments,
                            nullptr) != cuda::kSuccess ||
          api.event_record(end, stream) != cuda::kSuccess ||
          api.event_synchronize(end) != cuda::kSuccess ||
          api.event_elapsed_time(&milliseconds, start, end) != cuda::kSuccess) {
        return 0;
      }
      if (i > 0 && (best == 0 || milliseconds * 1e-3 < best)) best = milliseconds * 1e-3;
    }
    return best;
  }
};

std::string measured(uint64_t bytes) {
  return "measured: plain reads of " + std::to_string(bytes >> 20) + " MiB, best of " +
         std::to_string(kTries);
}

}  // namespace

ReadCeiling host_read_ceiling(unsigned threads) {
  if (threads == 0) threads = std::max(1u, std::thread::hardware_concurrency());
  const uint64_t words = kHostBytes / sizeof(uint64_t) / threads;  // of each thread
  const std::unique_ptr<uint64_t[]> data(new (std::nothrow) uint64_t[words * threads]);
  if (!data) return {0, "no memory to measure it with"};
  std::fill_n(data.get(), words * threads, uint64_t{0x55});
  std::atomic<uint64_t> sum{0};
  double best = 0;
  for (int i = 0; i < kTries; ++i) {
    const double start = now_seconds();
    std::vector<std::thread> workers;
    for (unsigned t = 0; t < threads; ++t) {
      workers.emplace_back([&, t] {
        uint64_t part = 0;
        for (const uint64_t* p = data.get() + t * words; p < data.get() + (t + 1) * words; ++p)
          part += *p;
        sum += part;
      });
    }
    for (std::thread& worker : workers) worker.join();
    const double time = now_seconds() - start;
    if (best == 0 || time < best) best = time;
  }
  // The sum is used, so that the reads are.
  if (sum == 0) return {0, "the measurement failed"};
  const uint64_t bytes = words * threads * sizeof(uint64_t);
  return {double(bytes) / best / 1e9,
          measured(bytes) + ", " + std::to_string(threads) + " threads"};
}

ReadCeiling cuda_read_ceiling(int ordinal) {
  Device device;
  uint64_t bytes = 0;
  const double seconds = device.open(ordinal) ? device.read(&bytes) : 0;
  if (seconds > 0) return {double(bytes) / seconds / 1e9, measured(bytes)};
  const double pins = read_device_attributes(ordinal).pin_bandwidth_gb_s();
  if (pins > 0) return {pins, "pin rate as the driver reports; it could not be measured"};
  return {0, "it could not be measured"};
}

}  // namespace jllm::tool
