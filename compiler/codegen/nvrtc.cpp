// Search, loading and use of libnvrtc; see nvrtc.h.
#include "compiler/codegen/nvrtc.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace jllm {
namespace {

namespace fs = std::filesystem;

bool starts_with(const std::string& name, const char* prefix) { return name.rfind(prefix, 0) == 0; }

std::vector<fs::path> sorted_entries(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    out.push_back(it->path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

// Library paths in search order, each file once however many links lead to it.
class Candidates {
 public:
  void add_file(const fs::path& file) {
    std::error_code error;
    const fs::path real = fs::canonical(file, error);
    if (error || !fs::is_regular_file(real, error)) return;
    if (std::find(real_.begin(), real_.end(), real) != real_.end()) return;
    real_.push_back(real);
    paths_.push_back(file.string());
  }

  // Every libnvrtc.so* directly in `folder`. A linker script or stub fails to load and is reported
  // then.
  void add_folder(const fs::path& folder) {
    places_.push_back(folder.string());
    for (const fs::path& entry : sorted_entries(folder)) {
      if (starts_with(entry.filename().string(), "libnvrtc.so")) add_file(entry);
    }
  }

  void add_loader_name(const std::string& name) { paths_.push_back(name); }
  void note_place(const std::string& place) { places_.push_back(place); }

  const std::vector<std::string>& paths() const { return paths_; }
  const std::vector<std::string>& places() const { return places_; }

 private:
  std::vector<fs::path> real_;
  std::vector<std::string> paths_;
  std::vector<std::string> places_;
};

void add_path(const std::string& path, Candidates* out) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    out->note_place(path);
    out->add_file(path);
    return;
  }
  // A folder may be the library folder itself, a toolkit, or an unpacked pip wheel.
  for (const char* sub : {"", "lib64", "lib", "nvidia/cuda_nvrtc/lib", "nvidia/cu13/lib"}) {
    const fs::path folder = fs::path(path) / sub;
    if (fs::is_directory(folder, error)) out->add_folder(folder);
  }
}

Candidates find_candidates(const std::string& explicit_path) {
  Candidates out;
  if (!explicit_path.empty()) {
    add_path(explicit_path, &out);
    return out;
  }
  if (const char* path = std::getenv("JLLM_NVRTC"); path != nullptr && *path != '\0') {
    add_path(path, &out);
    return out;
  }
#ifdef JLLM_NVRTC_DIR
  out.note_place(JLLM_NVRTC_DIR "/*/");
  for (const fs::path& entry : sorted_entries(JLLM_NVRTC_DIR)) {
    std::error_code error;
    if (fs::is_directory(entry, error)) add_path(entry.string(), &out);
  }
#endif
  for (const fs::path& entry : sorted_entries("/usr/local")) {
    if (starts_with(entry.filename().string(), "cuda")) out.add_folder(entry / "lib64");
  }
  for (const fs::path& entry : sorted_entries("/usr/lib")) {
    if (entry.filename().string().find("-linux-") != std::string::npos) out.add_folder(entry);
  }
  out.note_place("the loader's path");
  for (const char* name : {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so"}) {
    out.add_loader_name(name);
  }
  return out;
}

// NVRTC opens its builtins by bare name when it first compiles; outside the loader's path (a wheel,
// an unpacked archive) that works only when they are in the process already.
void preload_builtins(const std::string& library) {
  const fs::path folder = fs::path(library).parent_path();
  if (folder.empty()) return;
  for (const fs::path& entry : sorted_entries(folder)) {
    if (starts_with(entry.filename().string(), "libnvrtc-builtins.so.")) {
      dlopen(entry.c_str(), RTLD_LAZY | RTLD_GLOBAL);
    }
  }
}

template <typename Function>
bool find_symbol(void* library, const char* name, Function* out) {
  *out = reinterpret_cast<Function>(dlsym(library, name));
  return *out != nullptr;
}

std::string join(const std::vector<std::string>& parts, const char* separator) {
  std::string out;
  for (const std::string& part : parts) {
    if (!out.empty()) out += separator;
    out += part;
  }
  return out;
}

std::string text(NvrtcVersion version) {
  return std::to_string(version.major) + "." + std::to_string(version.minor);
}

bool newer(NvrtcVersion a, NvrtcVersion b) {
  return a.major != b.major ? a.major > b.major : a.minor > b.minor;
}

}  // namespace

bool Nvrtc::supports(unsigned arch) const {
  return std::find(archs_.begin(), archs_.end(), static_cast<int>(arch)) != archs_.end();
}

bool Nvrtc::load(void* library, Nvrtc* out, std::string* reason) {
  Api& api = out->api_;
  const bool complete =
      find_symbol(library, "nvrtcVersion", &api.version) &&
      find_symbol(library, "nvrtcGetNumSupportedArchs", &api.num_supported_archs) &&
      find_symbol(library, "nvrtcGetSupportedArchs", &api.supported_archs) &&
      find_symbol(library, "nvrtcGetErrorString", &api.error_string) &&
      find_symbol(library, "nvrtcCreateProgram", &api.create) &&
      find_symbol(library, "nvrtcDestroyProgram", &api.destroy) &&
      find_symbol(library, "nvrtcCompileProgram", &api.compile) &&
      find_symbol(library, "nvrtcGetProgramLogSize", &api.log_size) &&
      find_symbol(library, "nvrtcGetProgramLog", &api.log) &&
      find_symbol(library, "nvrtcGetCUBINSize", &api.cubin_size) &&
      find_symbol(library, "nvrtcGetCUBIN", &api.cubin) &&
      find_symbol(library, "nvrtcGetPTXSize", &api.ptx_size) &&
      find_symbol(library, "nvrtcGetPTX", &api.ptx);
  if (!complete) {
    *reason = "lacks entry points (older than NVRTC 11.2)";
    return false;
  }
  int count = 0;
  if (api.version(&out->version_.major, &out->version_.minor) != 0 ||
      api.num_supported_archs(&count) != 0 || count <= 0) {
    *reason = "does not tell its version and architectures";
    return false;
  }
  out->archs_.resize(static_cast<size_t>(count));
  if (api.supported_archs(out->archs_.data()) != 0) {
    *reason = "does not tell its architectures";
    return false;
  }
  return true;
}

llvm::Expected<Nvrtc> Nvrtc::open(const NvrtcSearchOptions& options) {
  const Candidates candidates = find_candidates(options.explicit_path);
  Nvrtc best;
  std::string refused;
  std::vector<void*> seen;
  for (const std::string& path : candidates.paths()) {
    // Never closed: the library keeps process-wide state, and a refused one only costs address
    // space.
    void* library = dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (library == nullptr) {
      const char* reason = dlerror();
      if (path.find('/') != std::string::npos) refused += "\n  " + path + ": " + reason;
      continue;
    }
    if (std::find(seen.begin(), seen.end(), library) != seen.end()) continue;
    seen.push_back(library);
    Nvrtc nvrtc;
    nvrtc.path_ = path;
    std::string reason;
    if (load(library, &nvrtc, &reason)) {
      const std::string version = text(nvrtc.version_);
      if (options.max_major != 0 && nvrtc.version_.major > options.max_major) {
        reason = "is " + version + ", newer than the target's driver (" +
                 std::to_string(options.max_major) + ".x)";
      } else if (options.arch != 0 && !nvrtc.supports(options.arch)) {
        reason = "is " + version + ", which does not know sm_" + std::to_string(options.arch);
      } else {
        if (best.path_.empty() || newer(nvrtc.version_, best.version_)) best = std::move(nvrtc);
        continue;
      }
    }
    refused += "\n  " + path + ": " + reason;
  }
  if (!best.path_.empty()) {
    preload_builtins(best.path_);
    return best;
  }
  std::string wanted = options.max_major == 0 ? "any version" : "version ";
  if (options.max_major != 0) wanted += std::to_string(options.max_major) + ".x or older";
  if (options.arch != 0) wanted += " for sm_" + std::to_string(options.arch);
  return fail(ExitCode::kFailed,
              "no suitable NVRTC library (wanted: {0})\nsearched: {1}{2}\n"
              "Get one with tools/get_nvrtc.sh, or name one with --nvrtc PATH or JLLM_NVRTC=PATH.",
              wanted, join(candidates.places(), ", "),
              refused.empty() ? std::string("\nfound none") : "\nrefused:" + refused);
}

llvm::Expected<std::vector<uint8_t>> Nvrtc::compile(const CompileRequest& request, bool ptx) const {
  std::vector<const char*> header_names, header_texts;
  for (const auto& [name, text] : request.headers) {
    header_names.push_back(name.c_str());
    header_texts.push_back(text.c_str());
  }
  std::vector<std::string> options = {std::string("--gpu-architecture=") +
                                      (ptx ? "compute_" : "sm_") + std::to_string(request.arch)};
  // All that the device can do: code for 9.0 runs nowhere else either way, PTX would.
  if (!ptx && request.arch == 90 && version_.major >= 12) options[0] += "a";
  options.insert(options.end(), request.options.begin(), request.options.end());
  std::vector<const char*> arguments;
  for (const std::string& option : options) arguments.push_back(option.c_str());

  Program program = nullptr;
  int result = api_.create(&program, request.source.c_str(), request.name.c_str(),
                           static_cast<int>(request.headers.size()), header_texts.data(),
                           header_names.data());
  if (result != 0) {
    return fail(ExitCode::kFailed, "{0}: nvrtcCreateProgram: {1}", request.name,
                api_.error_string(result));
  }
  std::vector<uint8_t> out;
  std::string log;
  result = api_.compile(program, static_cast<int>(arguments.size()), arguments.data());
  size_t size = 0;
  if (result != 0) {
    if (api_.log_size(program, &size) == 0 && size > 1) {
      log.resize(size);
      if (api_.log(program, log.data()) != 0) log.clear();
    }
  } else {
    result = ptx ? api_.ptx_size(program, &size) : api_.cubin_size(program, &size);
    if (result == 0) {
      out.resize(size);
      char* bytes = reinterpret_cast<char*>(out.data());
      result = ptx ? api_.ptx(program, bytes) : api_.cubin(program, bytes);
    }
  }
  api_.destroy(&program);
  if (result != 0) {
    while (!log.empty() && (log.back() == '\0' || log.back() == '\n')) log.pop_back();
    return fail(ExitCode::kFailed, "{0}: NVRTC {1} ({2}): {3}\noptions: {4}\n{5}", request.name,
                text(version_), path_, api_.error_string(result), join(options, " "), log);
  }
  if (out.empty()) {
    return fail(ExitCode::kFailed, "{0}: NVRTC {1} gave no code for sm_{2}", request.name, path_,
                std::to_string(request.arch));
  }
  return out;
}

llvm::Expected<std::vector<uint8_t>> Nvrtc::compile_cubin(const CompileRequest& request) const {
  return compile(request, /*ptx=*/false);
}

llvm::Expected<std::string> Nvrtc::compile_ptx(const CompileRequest& request) const {
  llvm::Expected<std::vector<uint8_t>> bytes = compile(request, /*ptx=*/true);
  if (!bytes) return bytes.takeError();
  return std::string(bytes->begin(), bytes->end());
}

}  // namespace jllm
