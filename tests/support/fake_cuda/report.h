// Violations: loud by default (a line, then abort), collected where a test asks for that. And
// poison for AddressSanitizer, which does nothing in a process that has none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace jllm::fake {

// Behind the text comes where the running kernel is.
void violation(const char* format, ...) __attribute__((format(printf, 1, 2)));
void collect_violations(bool on);
uint64_t violation_count();
std::string violation_text();  // all lines; forgets them

void poison(const void* at, size_t bytes);
void unpoison(const void* at, size_t bytes);

}  // namespace jllm::fake
