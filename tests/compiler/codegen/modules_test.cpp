// codegen::compile_modules: code for every kernel, the compile cache and what a failure says.
// Skipped without NVRTC (tools/get_nvrtc.sh fetches one); needs no GPU.
#include "compiler/codegen/modules.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "tests/compiler/gguf/raw_gguf.h"

namespace jllm::codegen {
namespace {

namespace fs = std::filesystem;

select::KernelSpec kernel(const std::string& source, const std::string& name,
                          std::vector<std::string> defines) {
  select::KernelSpec spec;
  spec.source = source;
  spec.name = name;
  spec.defines = std::move(defines);
  spec.block = 256;
  return spec;
}

class Modules : public testing::Test {
 protected:
  void SetUp() override {
    NvrtcSearchOptions search;
    search.arch = kArch;
    llvm::Expected<Nvrtc> nvrtc = Nvrtc::open(search);
    if (!nvrtc) GTEST_SKIP() << take_error(nvrtc.takeError()).second;
    nvrtc_ = std::move(*nvrtc);
    schedule_.kernels = {kernel("add", "add_0", {"N=64"}),
                         kernel("glu", "glu_0", {"N=96", "ACTIVATION=0"}),
                         kernel("add", "add_1", {"N=128"})};
    options_.arch = kArch;
    options_.cache_dir = folder_.file("cache");
    options_.threads = 2;
  }

  std::vector<std::vector<uint8_t>> compile() {
    return gguf::value_of(compile_modules(schedule_, nvrtc_, options_));
  }
  std::string error() {
    auto modules = compile_modules(schedule_, nvrtc_, options_);
    if (modules) return "";
    const auto [code, text] = take_error(modules.takeError());
    EXPECT_EQ(code, ExitCode::kFailed);
    return text;
  }

  // Files of the cache with their inodes: writing an entry gives its path a new inode.
  std::map<std::string, ino_t> entries() const {
    std::map<std::string, ino_t> result;
    if (!fs::exists(options_.cache_dir)) return result;
    for (const auto& entry : fs::recursive_directory_iterator(options_.cache_dir)) {
      if (!entry.is_regular_file()) continue;
      struct stat info = {};
      EXPECT_EQ(stat(entry.path().c_str(), &info), 0);
      result[entry.path()] = info.st_ino;
    }
    return result;
  }

  static constexpr uint32_t kArch = 87;
  gguf::TempFolder folder_;
  Nvrtc nvrtc_;
  select::Schedule schedule_;
  ModuleOptions options_;
};

bool contains(const std::vector<uint8_t>& bytes, const std::string& text) {
  return std::search(bytes.begin(), bytes.end(), text.begin(), text.end()) != bytes.end();
}

TEST_F(Modules, EachKernelIsCompiledUnderItsName) {
  const auto modules = compile();
  ASSERT_EQ(modules.size(), 3u);
  for (size_t i = 0; i < modules.size(); ++i) {
    EXPECT_TRUE(contains(modules[i],
                         "\x7f"
                         "ELF"))
        << i;
    EXPECT_TRUE(contains(modules[i], schedule_.kernels[i].name)) << i;
  }
}

TEST_F(Modules, CodeDoesNotDependOnThreadsOrCache) {
  options_.cache_dir.clear();
  options_.threads = 1;
  const auto one = compile();
  options_.threads = 3;
  EXPECT_EQ(compile(), one);
  options_.cache_dir = folder_.file("cache");
  EXPECT_EQ(compile(), one);  // fills the cache
  EXPECT_EQ(compile(), one);  // reads it
}

TEST_F(Modules, TheSecondRunIsServedByTheCache) {
  const auto first = compile();
  const auto before = entries();
  ASSERT_EQ(before.size(), 3u);
  EXPECT_EQ(compile(), first);
  EXPECT_EQ(entries(), before);
}

// The cache is what answers: another's valid entry under this key comes back as it is.
TEST_F(Modules, ACachedEntryIsTakenForTheCode) {
  schedule_.kernels.resize(1);
  const auto add = compile();
  const std::string add_path = entries().begin()->first;
  schedule_.kernels = {kernel("glu", "glu_0", {"N=96", "ACTIVATION=0"})};
  const auto glu = compile();
  ASSERT_NE(add, glu);
  for (const auto& [path, inode] : entries()) {
    if (path != add_path) {
      fs::copy_file(add_path, path, fs::copy_options::overwrite_existing);
    }
  }
  EXPECT_EQ(compile(), add);
}

TEST_F(Modules, EverythingThatReachesTheCodeChangesTheKey) {
  schedule_.kernels.resize(1);
  compile();
  const auto expect_new_entry = [&](const char* what) {
    const size_t before = entries().size();
    compile();
    EXPECT_EQ(entries().size(), before + 1) << what;
  };
  schedule_.kernels[0].defines = {"N=65"};
  expect_new_entry("a define");
  schedule_.kernels[0].name = "other";
  expect_new_entry("the symbol");
  schedule_.kernels[0].source = "add_bias";
  expect_new_entry("the source");
  options_.arch = 80;
  expect_new_entry("the architecture");
  // A block size is no part of the code.
  schedule_.kernels[0].block = 512;
  const auto before = entries();
  compile();
  EXPECT_EQ(entries(), before);
}

TEST_F(Modules, DamagedEntriesAreCompiledAgain) {
  schedule_.kernels.resize(1);
  const auto good = compile();
  const std::string path = entries().begin()->first;
  std::ifstream in(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  std::string flipped = bytes;
  flipped[bytes.size() / 2] ^= 1;
  const std::pair<const char*, std::string> damages[] = {
      {"empty", ""},
      {"one byte", "x"},
      {"cut short", bytes.substr(0, bytes.size() - 1)},
      {"one more byte", bytes + "x"},
      {"one bit flipped", flipped},
      {"digest only", bytes.substr(0, 32)},
  };
  for (const auto& [what, damaged] : damages) {
    std::ofstream(path, std::ios::binary) << damaged;
    EXPECT_EQ(compile(), good) << what;
    std::ifstream again(path, std::ios::binary);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(again), {}), bytes)
        << what << ": the entry was not mended";
  }
}

TEST_F(Modules, ACacheThatCannotBeWrittenDoesNotMatter) {
  options_.cache_dir = folder_.write("a file", "") + "/cache";
  EXPECT_EQ(compile().size(), 3u);
}

TEST_F(Modules, WithoutAFolderNothingIsKept) {
  options_.cache_dir.clear();
  compile();
  EXPECT_TRUE(fs::is_empty(folder_.file("")));
}

TEST_F(Modules, AFailureCarriesTheKernelTheOptionsAndTheCompilersLog) {
  schedule_.kernels[2].defines = {"N=no_such_number"};
  const std::string text = error();
  EXPECT_EQ(text.rfind("kernel add_1: ", 0), 0u) << text;
  EXPECT_NE(text.find("kernels/device/add.cu"), std::string::npos) << text;
  EXPECT_NE(text.find("-DN=no_such_number"), std::string::npos) << text;
  EXPECT_NE(text.find("identifier \"no_such_number\" is undefined"), std::string::npos) << text;
  // The others went to the cache, the failed one did not.
  EXPECT_EQ(entries().size(), 2u);
}

TEST_F(Modules, TheFirstFailureInOrderIsReported) {
  schedule_.kernels[1].defines = {"N=wrong_glu"};
  schedule_.kernels[2].defines = {"N=wrong_add"};
  EXPECT_EQ(error().rfind("kernel glu_0: ", 0), 0u);
}

TEST_F(Modules, AnUnknownSourceIsAnInternalError) {
  schedule_.kernels[0].source = "warp_drive";
  EXPECT_NE(error().find("internal: no device source 'warp_drive'"), std::string::npos);
}

TEST_F(Modules, ProgressCountsEveryKernelOnce) {
  std::vector<size_t> seen;
  options_.progress = [&](size_t done, size_t total) {
    EXPECT_EQ(total, 3u);
    seen.push_back(done);
  };
  compile();
  EXPECT_EQ(seen, (std::vector<size_t>{1, 2, 3}));
}

TEST_F(Modules, NothingToCompileIsNoError) {
  schedule_.kernels.clear();
  EXPECT_TRUE(compile().empty());
}

// --- default_cache_dir, which needs no NVRTC ---

class CacheDir : public testing::Test {
 protected:
  void TearDown() override {
    restore("XDG_CACHE_HOME", xdg_);
    restore("HOME", home_);
  }
  static void set(const char* name, const char* value) {
    value != nullptr ? setenv(name, value, 1) : unsetenv(name);
  }

 private:
  static std::optional<std::string> read(const char* name) {
    const char* value = std::getenv(name);
    if (value == nullptr) return std::nullopt;
    return value;
  }
  static void restore(const char* name, const std::optional<std::string>& value) {
    set(name, value ? value->c_str() : nullptr);
  }
  const std::optional<std::string> xdg_ = read("XDG_CACHE_HOME"), home_ = read("HOME");
};

TEST_F(CacheDir, FollowsTheXdgRule) {
  set("XDG_CACHE_HOME", "/xdg");
  set("HOME", "/home/someone");
  EXPECT_EQ(default_cache_dir(), "/xdg/jllm");
  set("XDG_CACHE_HOME", "relative");  // the rule: relative paths are ignored
  EXPECT_EQ(default_cache_dir(), "/home/someone/.cache/jllm");
  set("XDG_CACHE_HOME", nullptr);
  EXPECT_EQ(default_cache_dir(), "/home/someone/.cache/jllm");
  set("HOME", nullptr);
  EXPECT_EQ(default_cache_dir(), "");
}

}  // namespace
}  // namespace jllm::codegen
