// The one way in which the programs open a plan: the file, the weight file that a split plan names,
// and, where a key is trusted, the proof that both are what its owner signed.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "jllm/plan_source.h"
#include "schema/plan_view.h"
#include "tools/plan_file/failure.h"
#include "tools/plan_file/verifying_source.h"

namespace jllm::tool {

// How a user names a plan.
struct PlanPaths {
  PlanPaths() = default;
  PlanPaths(std::string plan_path) : plan(std::move(plan_path)) {}  // NOLINT

  std::string plan;
  std::string weights;      // of the weight file; empty: beside the plan, under the name it gives
  std::string trusted_key;  // file of public keys; empty: whoever made it
};

// A plan whose tables are proved. With a trusted key its signature is, too, before anything else of
// it is used, and every segment is held against its hash whenever it is read.
class PlanFile {
 public:
  explicit PlanFile(const PlanPaths& paths);  // throws Failure
  PlanFile(const PlanFile&) = delete;
  PlanFile& operator=(const PlanFile&) = delete;

  const PlanView& view() const { return view_; }
  const std::string& path() const { return paths_.plan; }
  // The file that holds the weights: the plan itself, or its weight file.
  const std::string& weights_path() const {
    return paths_.weights.empty() ? paths_.plan : paths_.weights;
  }
  PlanSource& source();
  PlanSource* weights();  // for ExecutorOptions::weights; null where the plan holds them
  // What a failed read of the two has found; empty: nothing.
  std::string refusal() const;

  // Reads everything and compares every hash and every byte between the segments.
  void verify();  // throws Failure

  // Prefix and tables as they lie in the file; the signature behind the segments, where there is
  // one.
  const uint8_t* head() const { return reinterpret_cast<const uint8_t*>(head_.data()); }
  uint64_t head_size() const { return view_.prefix().plan_offset + view_.prefix().plan_size; }
  std::optional<SignatureBlock> signature();

 private:
  void open_head();
  void open_weights();
  void check_trust();
  void check_content_hash();
  [[noreturn]] void fail(const std::string& path, Error error, const std::string& text) const;

  PlanPaths paths_;
  FileSource file_, weight_file_;
  std::vector<uint64_t> head_;  // 8-byte aligned
  PlanView view_;
  std::optional<VerifyingSource> verified_, verified_weights_;
};

}  // namespace jllm::tool
