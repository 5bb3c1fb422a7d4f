// A plan that was opened by jllm.h, for Executor: PlanView and PlanSource by themselves leave it to
// the caller where a file's tables lie.
#pragma once

#include "jllm/jllm.h"
#include "jllm/plan_source.h"
#include "schema/export.h"
#include "schema/view.h"

namespace jllm {

// Both live as long as the plan is open.
JLLM_EXPORT const PlanView& view_of(const jllm_plan* plan);
JLLM_EXPORT PlanSource& source_of(jllm_plan* plan);

}  // namespace jllm
