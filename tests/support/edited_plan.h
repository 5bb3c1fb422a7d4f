// A real plan in editable form: change anything, then put the file together again with a right
// hash, so that only the change can be what the reader objects to.
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

class EditedPlan {
 public:
  // The first buffer, kernel and launches of each graph receive names of their own, and the tables
  // room to grow; else the plan is the same.
  explicit EditedPlan(const std::vector<uint8_t>& file = small_plan());

  // Prefix and packed tables; the prefix's plan_size and plan_hash are set to fit.
  std::vector<uint8_t> head() const;
  // The whole file, with the segments' bytes as they were.
  std::vector<uint8_t> file() const;

  // Makes the plan one for CUDA, sm_87: every kernel lies in a module, the first of the segments.
  // There is no machine code in it.
  void become_cuda();

  PlanPrefix prefix;
  fbedit::PlanT tables;

 private:
  std::vector<uint8_t> segments_;
};

struct Opened {
  Error error = Error::kOk;
  std::string message;
};

// What PlanView::open says to these bytes, at the size that their prefix claims for the file.
Opened open_head(const std::vector<uint8_t>& head);
Opened open_head(const std::vector<uint8_t>& head, uint64_t file_size);

// Writes the hash of the tables into the prefix, so that a changed byte is not caught by it. `head`
// ends with the tables.
void fix_hash(std::vector<uint8_t>* head);

}  // namespace jllm::test
