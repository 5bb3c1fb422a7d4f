// The part of libedit that the line editor uses, declared here so that neither building nor
// starting needs it; a test holds the numbers against histedit.h where that header is present.
#pragma once

#include <cstdio>

namespace jllm::tool::libedit {

// el_set() and el_get()
constexpr int kPrompt = 0, kEditor = 2, kHist = 10, kClientData = 14;
// history()
constexpr int kSetSize = 1, kEnter = 10, kLoad = 17, kSave = 18, kSetUnique = 20;

struct HistEvent {
  int number;
  const char* text;
};

// X(result, name, parameters): EditLine and History are opaque.
#define JLLM_LIBEDIT_API(X)                                                   \
  X(void*, el_init, (const char* program, FILE* in, FILE* out, FILE* errors)) \
  X(void, el_end, (void* editor))                                             \
  X(void, el_reset, (void* editor))                                           \
  X(const char*, el_gets, (void* editor, int* size))                          \
  X(int, el_set, (void* editor, int what, ...))                               \
  X(int, el_get, (void* editor, int what, ...))                               \
  X(void*, history_init, ())                                                  \
  X(void, history_end, (void* history))                                       \
  X(int, history, (void* history, HistEvent* event, int what, ...))

struct Functions {
#define JLLM_FIELD(result, name, parameters) result(*name) parameters;
  JLLM_LIBEDIT_API(JLLM_FIELD)
#undef JLLM_FIELD
};

// Opens libedit.so.2 once; null where the system has none.
const Functions* functions();

}  // namespace jllm::tool::libedit
