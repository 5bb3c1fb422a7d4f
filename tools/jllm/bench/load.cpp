#include "tools/jllm/bench/load.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "executor/src/cuda/driver_api.h"
#include "tools/jllm/session.h"

namespace jllm::tool {
namespace {

constexpr uint64_t kBlock = 4u << 20;  // as the executor reads

class File {
 public:
  explicit File(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0) throw Failure(kFailed, path + ": " + strerror(errno));
    size_ = static_cast<uint64_t>(lseek(fd_, 0, SEEK_END));
  }
  ~File() { close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  uint64_t size() const { return size_; }
  // Dirty pages stay in the cache, so they are written first.
  void drop_from_cache() const {
    fdatasync(fd_);
    posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
  }
  void read(uint64_t offset, uint64_t size, void* to) const {
    auto* out = static_cast<uint8_t*>(to);
    for (ssize_t n = 0; size > 0; out += n, offset += uint64_t(n), size -= uint64_t(n)) {
      n = pread(fd_, out, size, static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR)
        n = 0;
      else if (n <= 0)
        throw Failure(kFailed, "the plan cannot be read");
    }
  }

 private:
  int fd_;
  uint64_t size_ = 0;
};

void check(cuda::Status status, const char* call) {
  if (status != cuda::kSuccess) throw Failure(kDevice, std::string(call) + " failed");
}

// Into memory of the device, block by block, one after the other.
LoadFloor through_cuda(const File& file, int ordinal) {
  LoadFloor floor;
  const double start = now_seconds();
  cuda::CudaApi api = {};
  if (const char* reason = cuda::load_cuda_api(&api)) throw Failure(kDevice, reason);
  cuda::Device device = 0;
  cuda::Context context = nullptr;
  cuda::Stream stream = nullptr;
  check(api.init(0), "cuInit");
  check(api.device_get(&device, ordinal), "cuDeviceGet");
  check(api.primary_ctx_retain(&context, device), "cuDevicePrimaryCtxRetain");
  check(api.ctx_set_current(context), "cuCtxSetCurrent");
  check(api.stream_create(&stream, cuda::kStreamNonBlocking), "cuStreamCreate");
  floor.context_seconds = now_seconds() - start;
  void* staging = nullptr;
  cuda::DevicePtr memory = 0;
  const double before = now_seconds();
  check(api.mem_host_alloc(&staging, kBlock, 0), "cuMemHostAlloc");
  check(api.mem_alloc(&memory, file.size()), "cuMemAlloc");
  floor.upload_seconds = now_seconds() - before;
  for (uint64_t offset = 0; offset < file.size(); offset += kBlock) {
    const uint64_t size = std::min(kBlock, file.size() - offset);
    const double reading = now_seconds();
    file.read(offset, size, staging);
    const double copying = now_seconds();
    check(api.memcpy_htod_async(memory + offset, staging, size, stream), "cuMemcpyHtoDAsync");
    check(api.stream_synchronize(stream), "cuStreamSynchronize");
    floor.read_seconds += copying - reading;
    floor.upload_seconds += now_seconds() - copying;
  }
  return floor;
}

LoadFloor through_memory(const File& file) {
  LoadFloor floor;
  const double start = now_seconds();
  void* memory =
      mmap(nullptr, file.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw Failure(kDoesNotFit, "no memory to read the plan into");
  file.read(0, file.size(), memory);
  floor.read_seconds = now_seconds() - start;
  return floor;
}

// What the child process does and tells its parent.
struct Answer {
  LoadFloor floor;
  int code = kDone;
  char text[200] = {0};
};

Answer measure(const std::string& path, bool is_host, int device, bool cold) {
  Answer answer;
  try {
    const File file(path);
    if (cold) {
      file.drop_from_cache();
    } else {
      through_memory(file);  // into the cache
    }
    answer.floor = is_host ? through_memory(file) : through_cuda(file, device);
    if (cold) file.drop_from_cache();
  } catch (const Failure& failure) {
    answer.code = failure.code;
    strncpy(answer.text, failure.what(), sizeof answer.text - 1);
  }
  return answer;
}

}  // namespace

LoadFloor measure_load_floor(const std::string& path, bool is_host, int device, bool cold) {
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) throw Failure(kFailed, "pipe: " + std::string(strerror(errno)));
  const pid_t child = fork();
  if (child < 0) throw Failure(kFailed, "fork: " + std::string(strerror(errno)));
  if (child == 0) {
    const Answer answer = measure(path, is_host, device, cold);
    _exit(write(ends[1], &answer, sizeof answer) == ssize_t(sizeof answer) ? 0 : 1);
  }
  close(ends[1]);
  Answer answer;
  const bool answered = ::read(ends[0], &answer, sizeof answer) == ssize_t(sizeof answer);
  close(ends[0]);
  waitpid(child, nullptr, 0);
  if (!answered) throw Failure(kFailed, "the process that measures reading and copying died");
  if (answer.code != kDone) throw Failure(static_cast<ExitCode>(answer.code), answer.text);
  return answer.floor;
}

}  // namespace jllm::tool
