#include "tests/e2e/cli/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

namespace jllm::test {
namespace {

using Clock = std::chrono::steady_clock;

// In the child: file `path` becomes descriptor `target`.
void redirect(const std::string& path, int flags, int target) {
  const int fd = open(path.c_str(), flags, 0600);
  if (fd < 0 || dup2(fd, target) < 0) _exit(126);
  close(fd);
}

}  // namespace

Process::Process(const std::string& program, const std::vector<std::string>& arguments,
                 const ProcessOptions& options) {
  write_text(dir_.file("in"), options.input);
  std::vector<std::string> words = {program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ != 0) {
    EXPECT_GT(pid_, 0) << "cannot fork";
    return;
  }
  redirect(dir_.file("in"), O_RDONLY, STDIN_FILENO);
  redirect(dir_.file("out"), O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
  redirect(dir_.file("err"), O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
  for (const std::string& entry : options.environment) {
    const size_t equals = entry.find('=');
    setenv(entry.substr(0, equals).c_str(), entry.c_str() + equals + 1, 1);
  }
  if (options.address_space > 0) {
    const rlimit limit = {options.address_space, options.address_space};
    setrlimit(RLIMIT_AS, &limit);
  }
  execv(program.c_str(), argv.data());
  _exit(127);
}

Process::~Process() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Process::send(int signal) const { EXPECT_EQ(kill(pid_, signal), 0); }

bool Process::runs() const {
  siginfo_t info = {};
  return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == 0;
}

std::string Process::output() const {
  return access(dir_.file("out").c_str(), R_OK) == 0 ? read_text(dir_.file("out")) : "";
}

ProcessResult Process::wait(double seconds) {
  const auto deadline = Clock::now() + std::chrono::duration<double>(seconds);
  int status = 0;
  pid_t ended = 0;
  while ((ended = waitpid(pid_, &status, WNOHANG)) == 0) {
    if (Clock::now() > deadline) {
      ADD_FAILURE() << "the program still runs after " << seconds << " seconds";
      kill(pid_, SIGKILL);
      ended = waitpid(pid_, &status, 0);
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_EQ(ended, pid_);
  pid_ = -1;
  ProcessResult result;
  if (WIFEXITED(status)) result.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  EXPECT_NE(result.code, 127) << "the program could not be started";
  result.out = read_text(dir_.file("out"));
  result.err = read_text(dir_.file("err"));
  return result;
}

ProcessResult jllm(const std::vector<std::string>& arguments, const ProcessOptions& options) {
  return Process(JLLM_PROGRAM, arguments, options).wait();
}

ProcessResult jllmc(const std::vector<std::string>& arguments, const ProcessOptions& options) {
  return Process(JLLMC_PROGRAM, arguments, options).wait();
}

void expect_failure(const ProcessResult& result, int code, const std::vector<std::string>& words) {
  EXPECT_EQ(result.code, code) << result.err;
  EXPECT_EQ(result.out, "") << "failures go to standard error";
  for (const std::string& word : words) {
    EXPECT_NE(result.err.find(word), std::string::npos) << "'" << word << "' in: " << result.err;
  }
}

}  // namespace jllm::test
