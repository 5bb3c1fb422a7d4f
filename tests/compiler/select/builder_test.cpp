// ScheduleBuilder: when two specialisations are one kernel, and the buffers that kernels bring
// along.
#include <gtest/gtest.h>

#include "compiler/select/schedule.h"

namespace jllm::select {
namespace {

KernelSpec device(const char* source, std::vector<std::string> defines, uint32_t block = 128,
                  uint32_t shared_bytes = 0) {
  KernelSpec spec;
  spec.name = spec.source = source;
  spec.defines = std::move(defines);
  spec.block = block;
  spec.shared_bytes = shared_bytes;
  return spec;
}

TEST(ScheduleBuilder, EqualSpecialisationsAreOneKernel) {
  ir::Program program;
  ScheduleBuilder builder(program);
  EXPECT_EQ(builder.kernel(device("add", {"N=64"})), 0u);
  EXPECT_EQ(builder.kernel(device("add", {"N=96"})), 1u);
  EXPECT_EQ(builder.kernel(device("glu", {"N=64"})), 2u);
  EXPECT_EQ(builder.kernel(device("add", {"N=64"})), 0u);
  EXPECT_EQ(builder.kernel(device("add", {"N=64"}, 256)), 3u);
  EXPECT_EQ(builder.kernel(device("add", {"N=64"}, 128, 16)), 4u);
  const Schedule schedule = builder.take();
  std::vector<std::string> names;
  for (const KernelSpec& kernel : schedule.kernels) names.push_back(kernel.name);
  EXPECT_EQ(names, (std::vector<std::string>{"add_0", "add_1", "glu_0", "add_2", "add_3"}));
}

TEST(ScheduleBuilder, HostOperationsKeepTheirNames) {
  ir::Program program;
  ScheduleBuilder builder(program);
  KernelSpec add, glu;
  add.name = "add";
  glu.name = "glu";
  EXPECT_EQ(builder.kernel(add), 0u);
  EXPECT_EQ(builder.kernel(glu), 1u);
  EXPECT_EQ(builder.kernel(add), 0u);
  EXPECT_EQ(builder.take().kernels[0].name, "add");
}

TEST(ScheduleBuilder, ScratchIsOfOneLaunchAndPersistentBuffersAreShared) {
  ir::Program program;
  ScheduleBuilder builder(program);
  const Argument a = builder.scratch("work", 10);
  const Argument b = builder.scratch("work", 10);
  EXPECT_NE(a.tensor, b.tensor);
  EXPECT_EQ(program[a.tensor].kind, ir::TensorKind::kActivation);
  EXPECT_EQ(program[a.tensor].elements(), 10u);
  const Argument c = builder.persistent("tickets", 4);
  EXPECT_EQ(builder.persistent("tickets", 4).tensor, c.tensor);
  EXPECT_NE(builder.persistent("other", 4).tensor, c.tensor);
  EXPECT_EQ(program[c.tensor].kind, ir::TensorKind::kPersistent);
}

TEST(ScheduleBuilder, FloatsTravelAsBits) {
  EXPECT_EQ(immediate_f32(1.0f).immediate, 0x3f800000u);
  EXPECT_EQ(immediate_f32(-0.0f).immediate, 0x80000000u);
}

}  // namespace
}  // namespace jllm::select
