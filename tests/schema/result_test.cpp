// Every error has a name of its own.
#include "schema/result.h"

#include <gtest/gtest.h>

#include <iterator>
#include <set>
#include <string>
#include <utility>

namespace jllm {
namespace {

// The codes are what programs compare with: numbers and names stay as they are.
TEST(ErrorNames, AreThoseThatWereReleased) {
  const std::pair<uint32_t, const char*> names[] = {{0, "ok"},
                                                    {0x101, "not_a_plan"},
                                                    {0x102, "plan_version"},
                                                    {0x103, "plan_truncated"},
                                                    {0x104, "plan_damaged"},
                                                    {0x105, "plan_invalid"},
                                                    {0x106, "target_mismatch"},
                                                    {0x107, "unknown_kernel"},
                                                    {0x201, "read_failed"},
                                                    {0x301, "host_memory_too_small"},
                                                    {0x302, "device_memory"},
                                                    {0x303, "pinned_memory"},
                                                    {0x401, "no_driver"},
                                                    {0x402, "no_device"},
                                                    {0x403, "driver_too_old"},
                                                    {0x404, "driver_call"},
                                                    {0x405, "threads"},
                                                    {0x501, "bad_argument"},
                                                    {0x502, "context_full"},
                                                    {0x503, "nothing_to_do"},
                                                    {0x504, "bad_logits"}};
  for (const auto& [code, name] : names) EXPECT_STREQ(error_name(static_cast<Error>(code)), name);
  std::set<std::string> known;
  for (uint32_t code = 0; code < 0x700; ++code) known.insert(error_name(static_cast<Error>(code)));
  EXPECT_EQ(known.size(), std::size(names) + 1);  // and "unknown"
  EXPECT_EQ(known.count("unknown"), 1u);
}

}  // namespace
}  // namespace jllm
