#include "tests/support/fake_cuda/kernel_build.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

extern char** environ;

namespace jllm::fake {
namespace {

namespace fs = std::filesystem;

std::string folder() {
  const char* path = std::getenv("JLLM_FAKE_CUDA_KERNELS");
  return path != nullptr ? path : JLLM_FAKE_CUDA_KERNELS;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// 128 bits of FNV-1a from two starts: names of files, nothing that anyone attacks.
std::string hash(const std::string& text) {
  uint64_t a = 0xcbf29ce484222325u, b = 0x9ae16a3b2f90404fu;
  for (const char c : text) {
    a = (a ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    b = (b ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    b ^= b >> 29;
  }
  char out[33];
  std::snprintf(out, sizeof out, "%016llx%016llx", static_cast<unsigned long long>(a),
                static_cast<unsigned long long>(b));
  return out;
}

// Under a name of its own first: other processes may be at the same file.
bool write_once(const std::string& path, const std::string& text) {
  static std::atomic<unsigned> number{0};
  std::error_code error;
  if (fs::exists(path, error)) return true;
  fs::create_directories(fs::path(path).parent_path(), error);
  const std::string temporary =
      path + "." + std::to_string(getpid()) + "." + std::to_string(number++);
  std::ofstream file(temporary, std::ios::binary);
  file << text;
  file.close();
  if (!file) return false;
  fs::rename(temporary, path, error);
  return !error;
}

// The headers that assembly stands in come from tests/support/simt.
std::string replaced(const std::string& name, const std::string& text) {
  const std::string file = fs::path(name).filename();
  if (file != "ptx.cuh" && file != "wgmma.cuh") return text;
  return read_file(std::string(JLLM_SIMT_DIR "/") + file);
}

// "kThreads" of __launch_bounds__(kThreads, BLOCKS); "0" without.
std::string launch_bound(const std::string& text) {
  const std::string word = "__launch_bounds__(";
  size_t at = text.find(word);
  if (at == std::string::npos) return "0";
  at += word.size();
  size_t end = at;
  for (int depth = 0; end < text.size(); ++end) {
    if (text[end] == '(') ++depth;
    if (depth == 0 && (text[end] == ',' || text[end] == ')')) break;
    if (text[end] == ')') --depth;
  }
  return text.substr(at, end - at);
}

std::vector<std::string> flags_of(const std::string& check) {
  if (check == "address") {
    return {"-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
            "-fsanitize-sections=simt_shared"};
  }
  if (check == "race") return {"-fsanitize=thread", "--param=tsan-instrument-func-entry-exit=0"};
  return {};
}

// Runs a program, its output in `log`.
bool run(const std::vector<std::string>& command, const std::string& log_path, std::string* log) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  // Not what this process was started with: the compiler is no part of the test.
  std::vector<char*> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string word = *entry;
    if (word.rfind("LD_PRELOAD=", 0) != 0 && word.rfind("LD_LIBRARY_PATH=", 0) != 0) {
      environment.push_back(*entry);
    }
  }
  environment.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                   0644);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t child = 0;
  const int error =
      posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  int status = 1;
  if (error == 0) waitpid(child, &status, 0);
  if (error == 0 && status == 0) return true;
  for (const std::string& word : command) *log += word + " ";
  *log += "\n" + read_file(log_path);
  return false;
}

}  // namespace

std::string write_kernel(const KernelSource& source, std::string* problem) {
  std::string all = read_file(JLLM_SIMT_DIR "/simt.h");
  for (const auto& [name, text] : source.headers) all += name + "\n" + replaced(name, text);
  const std::string headers = folder() + "/headers-" + hash(all);
  std::string defines;
  for (const std::string& option : source.options) {
    if (option.rfind("-D", 0) != 0) continue;
    std::string define = option.substr(2);
    const size_t equal = define.find('=');
    if (equal != std::string::npos) define[equal] = ' ';
    defines += "#define " + define + "\n";
  }
  const std::string wrapper =
      "#include \"" JLLM_SIMT_DIR "/simt.h\"\n" + defines + "namespace {\n#line 1 \"" +
      source.name + "\"\n" + source.text +
      "\n__attribute__((no_sanitize_thread)) void simt_trampoline(void** arguments) {\n"
      "  simt_call(&JLLM_KERNEL, arguments);\n}\n"
      "constexpr auto simt_signature_of_kernel = simt_signature(&JLLM_KERNEL);\n"
      "constexpr unsigned simt_most_threads = " +
      launch_bound(source.text) +
      ";\n}\n"
      "extern \"C\" {\n"
      "extern __attribute__((weak, visibility(\"hidden\"))) unsigned char "
      "__start_simt_shared[], __stop_simt_shared[];\n"
      "extern __attribute__((visibility(\"default\"))) const SimtKernel simt_kernel;\n"
      "const SimtKernel simt_kernel = {SIMT_TEXT(JLLM_KERNEL), simt_trampoline, "
      "simt_signature_of_kernel.count,\n"
      "  simt_signature_of_kernel.bytes, simt_signature_of_kernel.is_pointer, simt_most_threads,\n"
      "  __start_simt_shared, __stop_simt_shared};\n}\n";
  const std::string name = hash(all + wrapper + JLLM_HOST_COMPILER_ID);
  bool good = write_once(folder() + "/" + name + ".cpp", "// -I " + headers + "\n" + wrapper);
  for (const auto& [header, text] : source.headers) {
    good = good && write_once(headers + "/" + header, replaced(header, text));
  }
  if (good) return name;
  *problem = "cannot write to " + folder();
  return "";
}

std::string check_in_use() {
  const char* check = std::getenv("JLLM_FAKE_CUDA_CHECK");
  return check != nullptr ? check : "";
}

std::string build_kernel(const std::string& name, std::string* log) {
  static std::atomic<unsigned> number{0};
  const std::string base = folder() + "/" + name;
  const std::string check = check_in_use();
  const std::string library = base + (check.empty() ? "" : "." + check) + ".so";
  std::error_code error;
  if (fs::exists(library, error)) return library;
  std::ifstream source(base + ".cpp");
  std::string first;
  if (!std::getline(source, first)) {
    *log += "no source " + base + ".cpp";
    return "";
  }
  const std::string own = base + "." + std::to_string(getpid()) + "." + std::to_string(number++);
  std::vector<std::string> compile = {JLLM_HOST_COMPILER,
                                      "-std=c++17",
                                      "-O1",
                                      "-fPIC",
                                      "-march=native",
                                      "-ffp-contract=off",
                                      "-fvisibility=hidden",
                                      "-w",
                                      "-fno-exceptions",
                                      "-fno-rtti",
                                      "-fno-strict-aliasing",
                                      "-I",
                                      first.substr(6)};
  for (const std::string& flag : flags_of(check)) compile.push_back(flag);
  for (const char* word : {"-c", "-o"}) compile.push_back(word);
  compile.push_back(own + ".o");
  compile.push_back(base + ".cpp");
  std::vector<std::string> link = {JLLM_HOST_COMPILER, "-shared",  "-Wl,-z,defs",         "-o",
                                   own + ".so",        own + ".o", JLLM_FAKE_CUDA_LIBRARY};
  if (check == "address") link.insert(link.begin() + 1, "-fsanitize=address,undefined");
  const bool built = run(compile, own + ".log", log) && run(link, own + ".log", log);
  if (built) fs::rename(own + ".so", library, error);
  for (const char* suffix : {".o", ".log"}) fs::remove(own + suffix, error);
  return built ? library : "";
}

}  // namespace jllm::fake
