// The race check: kernels that were built with calls in front of every access (the interface of
// -fsanitize=thread) tell of them here. Shadow memory keeps who touched a byte last; two threads
// that touch one, one of them writing, need a barrier, a __syncwarp or a ticket between; two that
// write the same do no harm.
// It also finds accesses to nothing that the launch may touch, and reads of shared memory that the
// block has not written.
#pragma once

#include <cstdint>

namespace jllm::fake {

enum class Access { kRead, kWrite, kAtomic };
// Of the running thread; nothing while no kernel was built for the check.
void note_access(const void* at, uint64_t bytes, Access access);
// An atomic that orders: what the block wrote before is seen by who takes the ticket later.
void note_ticket(const void* at);
// Before another thread runs: what the last write has done is looked at.
void finish_overwrite();
void check_races(bool on);
bool checks_races();
void begin_checked_launch();

}  // namespace jllm::fake
