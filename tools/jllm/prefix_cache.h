// What many conversations begin with, computed once and kept in a file (--prefix-cache): programs
// that start again read it instead of computing it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "executor/text/dialogue.h"
#include "tools/jllm/arguments.h"
#include "tools/jllm/session.h"

namespace jllm::tool {

// The system text of a command, and where what it becomes is kept.
struct PrefixOptions {
  std::string system, system_file;
  std::string cache;  // empty: nowhere
};
// `whose`: the conversations that get the text.
void add_options(Arguments* arguments, PrefixOptions* options, const std::string& whose);
void read_options(PrefixOptions* options);  // behind parse(); throws Failure

// What the tokens of a conversation without messages begin with, whatever its first message will
// be. Throws Failure where the format refuses such conversations.
std::vector<uint32_t> tokens_before_messages(OpenPlan& plan, const text::Dialogue& dialogue);

struct PrefixReport {
  std::string path;
  uint32_t tokens = 0;  // 0: nothing was to be kept
  bool from_file = false;
  uint64_t file_bytes = 0;  // of the file that was read or written; 0: none
  double seconds = 0;       // until the executor had it
  std::string refusal;      // why the file that was there was not used
  std::string not_written;  // why there is no new one

  const char* source() const { return from_file ? "file" : "computed"; }
  std::string text() const;  // one line
  std::string json() const;
};

// Makes the selected, empty sequence of the executor these tokens: from the file where it holds
// just them, else by computing them, and then writes it. A file that cannot be used or written is
// told on standard error and in the report; throws Failure where the executor fails.
PrefixReport keep_prefix(const std::string& path, OpenPlan& plan, Session& session,
                         const std::vector<uint32_t>& tokens);

}  // namespace jllm::tool
