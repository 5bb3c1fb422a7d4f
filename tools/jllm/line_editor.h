// Lines typed at a terminal, with editing and a history that outlives the program. libedit does the
// work where the system has it: it is opened at run time, so that the program itself needs nothing
// but libc on a device. Without it, and where input is no terminal, lines come in plain.
#pragma once

#include <string>

namespace jllm::tool {

namespace libedit {
struct Functions;
}

class LineEditor {
 public:
  // `history`: a file of what was typed, read now and written by the destructor, for its owner's
  // eyes only; empty: none is kept.
  explicit LineEditor(std::string history);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  enum class Outcome { kLine, kEnd, kInterrupted };
  // One line without its end. The prompt is shown on standard error, at a terminal only.
  // kInterrupted: Ctrl-C, given that a handler without SA_RESTART is installed.
  Outcome read(const std::string& prompt, std::string* line);

  bool is_terminal() const { return is_terminal_; }
  bool edits() const { return editor_ != nullptr && history_ != nullptr; }  // false: plain lines

 private:
  Outcome read_plain(const std::string& prompt, std::string* line);
  Outcome read_edited(const std::string& prompt, std::string* line);
  void save_history();

  std::string history_path_;
  bool is_terminal_;
  const libedit::Functions* library_ = nullptr;
  void* editor_ = nullptr;
  void* history_ = nullptr;
};

// $XDG_STATE_HOME/jllm/history, by default ~/.local/state/jllm/history; empty without a home.
std::string default_history_path();

}  // namespace jllm::tool
