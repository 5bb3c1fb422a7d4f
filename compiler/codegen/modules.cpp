#include "compiler/codegen/modules.h"

#include <llvm/ADT/StringExtras.h>
#include <llvm/Support/FileSystem.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Support/Path.h>
#include <llvm/Support/Process.h>
#include <llvm/Support/SHA256.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "compiler/support/error.h"
#include "compiler/support/output_file.h"
#include "kernels/catalogue.h"

namespace jllm::codegen {
namespace {

// Everything that reaches the machine code: sources, options in order, architecture, compiler
// version.
std::string cache_key(const CompileRequest& request, bool ptx, NvrtcVersion version) {
  llvm::SHA256 hash;
  const auto add = [&](llvm::StringRef text) {
    hash.update(std::to_string(text.size()) + ":");
    hash.update(text);
  };
  add(request.source);
  for (const auto& [name, text] : request.headers) {
    add(name);
    add(text);
  }
  for (const std::string& option : request.options) add(option);
  add((ptx ? "ptx" : "") + std::to_string(request.arch));
  add(std::to_string(version.major) + "." + std::to_string(version.minor));
  add("entry 2");  // form of the cache's files
  const auto digest = hash.final();
  return llvm::toHex(llvm::StringRef(reinterpret_cast<const char*>(digest.data()), digest.size()),
                     true);
}

constexpr size_t kDigestBytes = 32;

std::string sha256(llvm::StringRef bytes) {
  llvm::SHA256 hash;
  hash.update(bytes);
  const auto digest = hash.final();
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

// An entry is the code behind its digest: a damaged one is compiled again, not built into plans.
bool read_cached(const std::string& path, std::vector<uint8_t>* out) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer || (*buffer)->getBufferSize() <= kDigestBytes) return false;
  const llvm::StringRef entry = (*buffer)->getBuffer();
  const llvm::StringRef code = entry.substr(kDigestBytes);
  if (entry.substr(0, kDigestBytes) != sha256(code)) return false;
  out->assign(code.bytes_begin(), code.bytes_end());
  return true;
}

// A cache that cannot be written is no reason to fail: the next run compiles again.
void write_cached(const std::string& path, const std::vector<uint8_t>& cubin) {
  if (llvm::sys::fs::create_directories(llvm::sys::path::parent_path(path))) return;
  llvm::Expected<OutputFile> file = OutputFile::create(path);
  if (!file) return llvm::consumeError(file.takeError());
  const std::string digest = sha256({reinterpret_cast<const char*>(cubin.data()), cubin.size()});
  llvm::Error error = file->write(digest.data(), digest.size());
  if (!error) error = file->write(cubin.data(), cubin.size());
  if (!error) error = file->commit();
  llvm::consumeError(std::move(error));
}

// As the driver wants it: with a zero at its end.
llvm::Expected<std::vector<uint8_t>> compile_ptx(const Nvrtc& nvrtc,
                                                 const CompileRequest& request) {
  llvm::Expected<std::string> text = nvrtc.compile_ptx(request);
  if (!text) return text.takeError();
  std::vector<uint8_t> bytes(text->begin(), text->end());
  if (bytes.empty() || bytes.back() != 0) bytes.push_back(0);
  return bytes;
}

llvm::Expected<std::vector<uint8_t>> compile_one(const select::KernelSpec& kernel,
                                                 const Nvrtc& nvrtc, const ModuleOptions& options) {
  if (kernels::find_source(kernel.source) == nullptr) {
    return fail(ExitCode::kFailed, "internal: no device source '{0}'", kernel.source);
  }
  const CompileRequest request = kernel_request(kernel, options.arch);
  std::string path;
  std::vector<uint8_t> cubin;
  if (!options.cache_dir.empty()) {
    path =
        options.cache_dir + "/cubin/" + cache_key(request, options.ptx, nvrtc.version()) + ".cubin";
    if (read_cached(path, &cubin)) return cubin;
  }
  llvm::Expected<std::vector<uint8_t>> compiled =
      options.ptx ? compile_ptx(nvrtc, request) : nvrtc.compile_cubin(request);
  if (compiled && !path.empty()) write_cached(path, *compiled);
  return compiled;
}

}  // namespace

CompileRequest kernel_request(const select::KernelSpec& kernel, uint32_t arch) {
  CompileRequest request;
  const kernels::Source& source = *kernels::find_source(kernel.source);
  request.name = std::string(source.name);
  request.source = std::string(source.text);
  for (const kernels::Source& header : kernels::all_headers()) {
    request.headers.emplace_back(header.name, header.text);
  }
  request.arch = arch;
  request.options = kernels::compile_options();
  request.options.push_back("-DJLLM_KERNEL=" + kernel.name);
  if (kernel.programmatic) request.options.push_back("-DPROGRAMMATIC=1");
  for (const std::string& define : kernel.defines) request.options.push_back("-D" + define);
  return request;
}

llvm::Expected<std::vector<std::vector<uint8_t>>> compile_modules(const select::Schedule& schedule,
                                                                  const Nvrtc& nvrtc,
                                                                  const ModuleOptions& options) {
  const size_t count = schedule.kernels.size();
  std::vector<std::vector<uint8_t>> modules(count);
  std::vector<std::string> problems(count);
  std::atomic<size_t> next{0};
  std::mutex mutex;
  size_t done = 0;
  const auto work = [&] {
    for (size_t i = next++; i < count; i = next++) {
      llvm::Expected<std::vector<uint8_t>> module =
          compile_one(schedule.kernels[i], nvrtc, options);
      if (module) {
        modules[i] = std::move(*module);
      } else {
        problems[i] = take_error(module.takeError()).second;
      }
      const std::lock_guard<std::mutex> lock(mutex);
      if (options.progress) options.progress(++done, count);
    }
  };
  const unsigned cpus = std::max(1u, std::thread::hardware_concurrency());
  const size_t threads = std::min<size_t>(options.threads > 0 ? options.threads : cpus, count);
  std::vector<std::thread> pool;
  for (size_t i = 1; i < threads; ++i) pool.emplace_back(work);
  work();
  for (std::thread& thread : pool) thread.join();
  for (size_t i = 0; i < count; ++i) {
    if (!problems[i].empty()) {
      return fail(ExitCode::kFailed, "kernel {0}: {1}", schedule.kernels[i].name, problems[i]);
    }
  }
  return modules;
}

std::string default_cache_dir() {
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg != nullptr && xdg[0] == '/') {
    return std::string(xdg) + "/jllm";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && home[0] == '/') {
    return std::string(home) + "/.cache/jllm";
  }
  return "";
}

}  // namespace jllm::codegen
