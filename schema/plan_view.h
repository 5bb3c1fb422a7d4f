// The view of a plan (view.h) together with the tables that it shows, and their proof.
#pragma once

#include "schema/plan_generated.h"
#include "schema/view.h"

namespace jllm {

// Proves that `plan` is consistent in itself and with a file whose segments end at `file_size`.
Error validate_plan(const fb::Plan& plan, const PlanPrefix& prefix, Message* message);

}  // namespace jllm
