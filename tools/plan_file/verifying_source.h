// Hands out a file's segments and holds each against its SHA-256 on the way, so that the bytes that
// are proved are the bytes that are used. A segment is read in order, from its start; with its last
// byte it is proved, or the read fails.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "jllm/plan_source.h"
#include "schema/plan_view.h"
#include "schema/sha256.h"

namespace jllm::tool {

class VerifyingSource final : public PlanSource {
 public:
  // Of the plan (`of_weight_file` false) or of its weight file, which is called `name`. The view
  // and the file must outlive this.
  VerifyingSource(const PlanView& view, PlanSource& file, bool of_weight_file, std::string name)
      : view_(view), file_(file), of_weight_file_(of_weight_file), name_(std::move(name)) {}

  uint64_t size() const override { return file_.size(); }
  Error read(uint64_t offset, uint64_t size, void* dst) override;

  // Everything that no segment covers is zero, but for what the format puts there.
  Error check_gaps();

  // Why a read failed, with the file's name; empty where it was not the proof that failed.
  const std::string& refusal() const { return refusal_; }

 private:
  Error refuse(const std::string& why);
  Error check_zeros(uint64_t offset, uint64_t end);
  const fb::Segment* find(uint64_t offset) const;

  const PlanView& view_;
  PlanSource& file_;
  bool of_weight_file_;
  std::string name_;
  const fb::Segment* segment_ = nullptr;  // the one being read
  uint64_t next_ = 0;                     // offset of its next byte
  Sha256 hash_;
  std::string refusal_;
};

}  // namespace jllm::tool
