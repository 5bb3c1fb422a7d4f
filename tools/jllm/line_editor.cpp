#include "tools/jllm/line_editor.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "tools/jllm/libedit.h"

namespace jllm::tool {
namespace {

constexpr int kHistoryLines = 1000;

// What libedit asks for the prompt's text.
char* prompt_of(void* editor) {
  void* text = nullptr;
  libedit::functions()->el_get(editor, libedit::kClientData, &text);
  return static_cast<char*>(text);
}

std::string without_end(std::string line) {
  if (!line.empty() && line.back() == '\n') line.pop_back();
  return line;
}

}  // namespace

LineEditor::LineEditor(std::string history)
    : history_path_(std::move(history)), is_terminal_(isatty(STDIN_FILENO) != 0) {
  if (!is_terminal_ || isatty(STDERR_FILENO) == 0) return;
  library_ = libedit::functions();
  if (library_ == nullptr) return;
  std::setlocale(LC_CTYPE, "");  // letters of more than one byte
  editor_ = library_->el_init("jllm", stdin, stderr, stderr);
  history_ = library_->history_init();
  if (editor_ == nullptr || history_ == nullptr) return;
  libedit::HistEvent event = {};
  library_->history(history_, &event, libedit::kSetSize, kHistoryLines);
  library_->history(history_, &event, libedit::kSetUnique, 1);
  library_->el_set(editor_, libedit::kPrompt, prompt_of);
  library_->el_set(editor_, libedit::kEditor, "emacs");
  library_->el_set(editor_, libedit::kHist, library_->history, history_);
  if (!history_path_.empty()) {
    library_->history(history_, &event, libedit::kLoad, history_path_.c_str());
  }
}

LineEditor::~LineEditor() {
  if (library_ == nullptr) return;
  if (history_ != nullptr) {
    save_history();
    library_->history_end(history_);
  }
  if (editor_ != nullptr) library_->el_end(editor_);
}

// Whole or not at all: a second program may be reading it.
void LineEditor::save_history() {
  if (history_path_.empty()) return;
  namespace fs = std::filesystem;
  std::error_code ignored;
  fs::create_directories(fs::path(history_path_).parent_path(), ignored);
  const std::string temporary = history_path_ + "." + std::to_string(getpid());
  const mode_t before = umask(077);
  libedit::HistEvent event = {};
  const int saved = library_->history(history_, &event, libedit::kSave, temporary.c_str());
  umask(before);
  if (saved < 0 || std::rename(temporary.c_str(), history_path_.c_str()) != 0) {
    fs::remove(temporary, ignored);
  }
}

LineEditor::Outcome LineEditor::read(const std::string& prompt, std::string* line) {
  return edits() ? read_edited(prompt, line) : read_plain(prompt, line);
}

LineEditor::Outcome LineEditor::read_plain(const std::string& prompt, std::string* line) {
  if (is_terminal_) std::fputs(prompt.c_str(), stderr);
  char* text = nullptr;
  size_t room = 0;
  errno = 0;
  const ssize_t size = ::getline(&text, &room, stdin);
  const bool interrupted = size <= 0 && errno == EINTR;
  if (size > 0) *line = without_end({text, static_cast<size_t>(size)});
  std::free(text);
  if (size > 0) return Outcome::kLine;
  if (interrupted) std::clearerr(stdin);
  return interrupted ? Outcome::kInterrupted : Outcome::kEnd;
}

LineEditor::Outcome LineEditor::read_edited(const std::string& prompt, std::string* line) {
  std::string shown = prompt;  // prompt_of() hands out a pointer that may be written through
  library_->el_set(editor_, libedit::kClientData, shown.data());
  int size = 0;
  errno = 0;
  const char* text = library_->el_gets(editor_, &size);
  if (text == nullptr || size <= 0) {
    if (size < 0 && errno == EINTR) {
      std::fputc('\n', stderr);
      library_->el_reset(editor_);
      return Outcome::kInterrupted;
    }
    return Outcome::kEnd;
  }
  *line = without_end({text, static_cast<size_t>(size)});
  libedit::HistEvent event = {};
  if (!line->empty()) library_->history(history_, &event, libedit::kEnter, line->c_str());
  return Outcome::kLine;
}

std::string default_history_path() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && state[0] == '/') return std::string(state) + "/jllm/history";
  const char* home = std::getenv("HOME");
  return home != nullptr && home[0] == '/' ? std::string(home) + "/.local/state/jllm/history" : "";
}

}  // namespace jllm::tool
