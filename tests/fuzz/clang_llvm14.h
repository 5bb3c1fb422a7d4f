// Forced in front of every file of the fuzz build. LLVM 14's JSON.h uses vectors of a class that is
// not complete yet; since C++20 clang instantiates libstdc++'s vectors there and then, because they
// are constexpr. Without that it waits, as it did before.
#pragma once

#include <string>
#undef _GLIBCXX20_CONSTEXPR
#define _GLIBCXX20_CONSTEXPR
