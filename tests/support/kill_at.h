// What a program leaves behind, whenever it is killed.
#pragma once

#include <functional>
#include <optional>

namespace jllm::test {

// Runs `work` in a child process that is killed at its system call number `kill_at` (entries and
// exits both count). Returns how many there were, where the child came to its end before; -1 where
// it was killed; nothing where tracing is not allowed here.
std::optional<int> run_and_kill(int kill_at, const std::function<void()>& work);

}  // namespace jllm::test
