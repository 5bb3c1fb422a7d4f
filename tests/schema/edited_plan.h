// A real plan's prefix and tables in editable form: change anything, then put the file's head
// together again with a right hash, so that only the change can be what the reader objects to.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan_edit_generated.h"
#include "schema/plan_view.h"

namespace jllm::test {

// A plan for `host` with every kind of graph and scratch buffer; made once.
const std::vector<uint8_t>& small_plan();
// Its prefix and tables alone.
std::vector<uint8_t> small_head();

struct EditedPlan {
  EditedPlan();
  // Prefix and packed tables; the prefix's plan_size and plan_hash are set to fit.
  std::vector<uint8_t> head() const;

  PlanPrefix prefix;
  fbedit::PlanT tables;
};

struct Opened {
  Error error = Error::kOk;
  std::string message;
};

// What PlanView::open says to these bytes, at the size that their prefix claims for the file.
Opened open_head(const std::vector<uint8_t>& head);
Opened open_head(const std::vector<uint8_t>& head, uint64_t file_size);

// Writes the hash of the tables into the prefix, so that a changed byte is not caught by it.
void fix_hash(std::vector<uint8_t>* head);

}  // namespace jllm::test
