#include "tests/support/fake_cuda/module_images.h"

#include <dlfcn.h>
#include <elf.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "schema/json_reader.h"
#include "tests/support/fake_cuda/fake_cuda.h"
#include "tests/support/fake_cuda/kernel_build.h"
#include "tests/support/fake_cuda/race.h"

namespace jllm::fake {
namespace {

// Cubins whose sources are known: by their bytes, the name that they are built under.
std::map<std::string, std::string> known;

// Bytes of an ELF file in memory.
uint64_t elf_bytes(const void* image) {
  Elf64_Ehdr header;
  std::memcpy(&header, image, sizeof header);
  const auto* base = static_cast<const char*>(image);
  uint64_t end = std::max(header.e_shoff + uint64_t{header.e_shnum} * header.e_shentsize,
                          header.e_phoff + uint64_t{header.e_phnum} * header.e_phentsize);
  for (unsigned i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr section;
    std::memcpy(&section, base + header.e_shoff + uint64_t{i} * header.e_shentsize, sizeof section);
    if (section.sh_type != SHT_NOBITS) end = std::max(end, section.sh_offset + section.sh_size);
  }
  return end;
}

bool same_device(uint32_t code, uint32_t device) {
  return code == device || (code < device && code / 10 == device / 10);
}

std::string build_name(const void* image, uint32_t capability, std::string* problem) {
  Image own;
  if (std::memcmp(image, Image::kMagic, sizeof own.magic) == 0) {
    std::memcpy(&own, image, sizeof own);
    return same_device(own.arch, capability) ? own.name : "";
  }
  if (std::memcmp(image, ELFMAG, SELFMAG) != 0) return "";  // damaged
  const std::string bytes(static_cast<const char*>(image), elf_bytes(image));
  for (const auto& [cubin, name] : known) {
    if (cubin.compare(0, bytes.size(), bytes) == 0) return name;
  }
  *problem =
      "a cubin of unknown source: compile the plan with --debug-info, and hand that segment "
      "to fake_cuda_add_sources()";
  return "";
}

std::string read_string(JsonReader& json) {
  std::string out;
  json.string([&](std::string_view piece) {
    out += piece;
    return true;
  });
  return out;
}

// {"name": value, ...}: `field` reads each value.
template <typename Field>
bool read_object(JsonReader& json, const Field& field) {
  if (!json.take("{")) return false;
  if (json.take("}")) return true;
  do {
    const std::string name = read_string(json);
    if (!json.take(":") || !field(name)) return false;
  } while (json.take(","));
  return json.take("}");
}

template <typename Item>
bool read_list(JsonReader& json, const Item& item) {
  if (!json.take("[")) return false;
  if (json.take("]")) return true;
  do {
    if (!item()) return false;
  } while (json.take(","));
  return json.take("]");
}

}  // namespace

std::unique_ptr<LoadedModule> load_image(const void* image, uint32_t capability,
                                         std::string* problem) {
  const std::string name = build_name(image, capability, problem);
  if (name.empty()) return nullptr;
  const std::string library = build_kernel(name, problem);
  if (library.empty()) return nullptr;
  auto module = std::make_unique<LoadedModule>();
  module->build_name = name;
  module->library = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module->library == nullptr) {
    *problem = dlerror();
    return nullptr;
  }
  check_races(check_in_use() == "race");
  return module;
}

const Kernel* find_function(LoadedModule& module, const std::string& name) {
  std::unique_ptr<Kernel>& kernel = module.functions[name];
  if (kernel != nullptr) return kernel.get();
  const void* code = dlsym(module.library, "simt_kernel");
  if (code == nullptr || name != static_cast<const SimtKernel*>(code)->name) {
    module.functions.erase(name);
    return nullptr;
  }
  kernel = std::make_unique<Kernel>();
  kernel->name = name;
  kernel->code = *static_cast<const SimtKernel*>(code);
  return kernel.get();
}

uint32_t most_shared() {
  switch (books().capability) {
    case 75:
      return 64 << 10;
    case 86:
    case 89:
      return 99 << 10;
    case 80:
    case 87:
      return 163 << 10;
    default:
      return 227 << 10;
  }
}

}  // namespace jllm::fake

#pragma GCC visibility push(default)
extern "C" const char* fake_cuda_add_sources(const char* text, uint64_t size,
                                             const void* const* images, const uint64_t* image_sizes,
                                             uint32_t count) {
  using namespace jllm::fake;
  using Source = std::pair<std::string, std::vector<std::string>>;
  jllm::JsonReader json(std::string_view(text, size));
  std::map<std::string, std::string> files;
  std::vector<Source> modules;
  const bool good = read_object(json, [&](const std::string& field) {
    if (field == "files") {
      return read_object(json, [&](const std::string& name) {
        files[name] = read_string(json);
        return true;
      });
    }
    if (field != "modules") return json.skip_value();
    return read_list(json, [&] {
      Source module;
      const bool read = read_object(json, [&](const std::string& name) {
        if (name == "source")
          module.first = read_string(json);
        else if (name == "options") {
          return read_list(json, [&] {
            module.second.push_back(read_string(json));
            return true;
          });
        } else {
          return json.skip_value();
        }
        return true;
      });
      modules.push_back(module);
      return read;
    });
  });
  if (!good || modules.size() != count) return "no debug segment of as many modules";
  static std::string problem;
  problem.clear();
  std::vector<std::string> names;
  for (const auto& [source, options] : modules) {
    KernelSource kernel = {source, files[source], {}, options};
    for (const auto& [name, contents] : files) {
      if (name.size() > 3 && name.substr(name.size() - 3) != ".cu") {
        kernel.headers.emplace_back(name, contents);
      }
    }
    names.push_back(write_kernel(kernel, &problem));
    if (names.back().empty()) return problem.c_str();
  }
  // As many compilers as there are CPUs; what one gets wrong shows when the module is loaded.
  std::atomic<size_t> next{0};
  std::vector<std::thread> pool;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i) {
    pool.emplace_back([&] {
      for (size_t n = next++; n < names.size(); n = next++) {
        std::string log;
        build_kernel(names[n], &log);
      }
    });
  }
  for (std::thread& thread : pool) thread.join();
  for (uint32_t i = 0; i < count; ++i) {
    known[std::string(static_cast<const char*>(images[i]), image_sizes[i])] = names[i];
  }
  return nullptr;
}
#pragma GCC visibility pop
