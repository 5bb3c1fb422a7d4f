// Runs a program with its output in files, so that nothing can block on a pipe.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "tests/support/files.h"

namespace jllm::test {

struct ProcessResult {
  int code = -1;    // exit code, -1 when a signal ended it
  int signal = 0;   // that signal
  std::string out;  // standard output
  std::string err;  // standard error
};

struct ProcessOptions {
  std::string input;                     // standard input
  std::vector<std::string> environment;  // "NAME=value", added to this process's own
  uint64_t address_space = 0;            // bytes, RLIMIT_AS; 0: no limit
};

class Process {
 public:
  Process(const std::string& program, const std::vector<std::string>& arguments,
          const ProcessOptions& options = {});
  ~Process();  // kills it if it still runs
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void send(int signal) const;
  pid_t pid() const { return pid_; }
  bool runs() const;
  // What it has written to standard output so far.
  std::string output() const;
  // Waits for its end; a process that takes longer than this is killed and fails the test.
  ProcessResult wait(double seconds = 120);

 private:
  TempDir dir_;
  pid_t pid_ = -1;
};

ProcessResult jllm(const std::vector<std::string>& arguments, const ProcessOptions& options = {});
ProcessResult jllmc(const std::vector<std::string>& arguments, const ProcessOptions& options = {});

// Fails the test unless the program ended with `code` and `words` stand in its standard error.
void expect_failure(const ProcessResult& result, int code, const std::vector<std::string>& words);

}  // namespace jllm::test
