// `jllmc inspect`: what is in a GGUF or in a plan, for people and as JSON; the memory map of a plan
// as text and as a picture; and a second, independent proof of its layout.
#pragma once

#include <llvm/Support/Error.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Support/raw_ostream.h>

#include <memory>
#include <string>

#include "compiler/chat/chat.h"
#include "compiler/gguf/file.h"
#include "schema/plan_picture.h"
#include "schema/plan_view.h"

namespace jllm::inspect {

struct InspectOptions {
  std::string path;
  bool json = false;
  bool map = false;      // plans: scratch memory over time
  std::string svg_path;  // plans: the same as a picture
  bool verify = false;   // plans: prove the layout again and check every segment's hash
};

// Tells a GGUF from a plan by its first bytes. The result goes to `out`.
llvm::Error inspect(const InspectOptions& options, llvm::raw_ostream& out);

// A plan's tables, kept alive with the view of them.
class PlanFile {
 public:
  static llvm::Expected<PlanFile> open(const std::string& path);
  const PlanView& view() const { return view_; }
  const fb::Plan& plan() const { return view_.plan(); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::shared_ptr<llvm::MemoryBuffer> head_;
  PlanView view_;
};

void print_gguf_text(const gguf::File& file, llvm::raw_ostream& out);
void print_gguf_json(const gguf::File& file, llvm::raw_ostream& out);
void print_plan_text(const PlanFile& file, llvm::raw_ostream& out);
void print_plan_json(const PlanFile& file, llvm::raw_ostream& out);

// One line per launch of the decode graph and of the largest prefill graph: which bytes of scratch
// live.
void print_map(const fb::Plan& plan, llvm::raw_ostream& out);

// Every two buffers that live at the same time lie apart; every pointer of every launch lies in a
// buffer that is alive then; the segments have the hashes that the plan names. The error says what
// is wrong.
llvm::Error verify_plan(const PlanFile& file);

chat::Description chat_format(const PlanFile& file);

}  // namespace jllm::inspect
