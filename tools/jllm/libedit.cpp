#include "tools/jllm/libedit.h"

#include <dlfcn.h>

namespace jllm::tool::libedit {

const Functions* functions() {
  static Functions table;
  static const bool complete = [] {
    void* library = dlopen("libedit.so.2", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return false;
#define JLLM_LOAD(result, name, parameters)                                   \
  table.name = reinterpret_cast<result(*) parameters>(dlsym(library, #name)); \
  if (table.name == nullptr) return false;
    JLLM_LIBEDIT_API(JLLM_LOAD)
#undef JLLM_LOAD
    return true;
  }();
  return complete ? &table : nullptr;
}

}  // namespace jllm::tool::libedit
