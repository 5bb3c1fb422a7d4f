#include "tools/plan_file/install.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tools/plan_file/replace_file.h"

namespace jllm::tool {
namespace {

// One at a time in a folder; given back with the process, however it ends.
class FolderLock {
 public:
  explicit FolderLock(const std::string& path) {
    const std::string folder = folder_of(path);
    fd_ = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd_ < 0) throw Failure(kFailed, folder + ": " + std::strerror(errno));
    if (flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
    const int reason = errno;
    ::close(fd_);
    throw Failure(kFailed, path + ": " +
                               (reason == EWOULDBLOCK ? "another jllm install is at work"
                                                      : std::strerror(reason)));
  }
  ~FolderLock() { ::close(fd_); }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_;
};

// What interrupted installations have left of weight files, which can be large.
void remove_remains(const std::string& current) {
  remove_leftovers(parent_folder(current), [](const std::string& name) {
    const std::string ending = ".jllmw";
    return name.size() > ending.size() && name.substr(name.size() - ending.size()) == ending;
  });
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

bool is_whole(const PlanPaths& paths) {
  try {
    PlanFile(paths).verify();
    return true;
  } catch (const Failure&) {
    return false;
  }
}

void copy_all(const std::string& from, ReplaceFile* to) {
  FileSource file;
  Message message;
  if (file.open(from.c_str(), &message) != Error::kOk) throw Failure(kFailed, message.text);
  to->copy(file, 0, file.size());
  to->sync();
}

// The same file under a second name, so that the first is never without one.
void keep_previous(const std::string& current) {
  const std::string previous = previous_name(current);
  const std::string temporary = previous + ".new";
  ::unlink(temporary.c_str());  // of an interrupted run
  if (::link(current.c_str(), temporary.c_str()) != 0) {
    throw Failure(kFailed,
                  current + ": cannot be kept as " + previous + ": " + std::strerror(errno));
  }
  rename_and_sync(temporary, previous);
  ::unlink(temporary.c_str());  // rename() keeps both where they were one file before
}

}  // namespace

std::string previous_name(const std::string& current) { return current + ".previous"; }

void install_plan(const PlanPaths& paths, const std::string& current) {
  const FolderLock lock(current);
  remove_remains(current);
  PlanFile plan(paths);
  ReplaceFile copy(current);
  copy_all(plan.path(), &copy);
  // The copies and not the originals are what will run: proved where they lie.
  PlanPaths copied = paths;
  copied.plan = copy.readable_path();
  if (plan.weights() == nullptr) {
    PlanFile(copied).verify();
  } else {
    copied.weights = folder_of(current) + plan.view().plan().weight_file()->name()->str();
    if (!exists(copied.weights) || !is_whole(copied)) {
      ReplaceFile weights(copied.weights);
      copy_all(plan.weights_path(), &weights);
      copied.weights = weights.readable_path();
      PlanFile(copied).verify();
      weights.commit();
    }
  }
  if (exists(current)) keep_previous(current);
  copy.commit();
}

void roll_back(const std::string& current) {
  const FolderLock lock(current);
  const std::string previous = previous_name(current);
  PlanFile(PlanPaths(previous)).verify();
  if (renameat2(AT_FDCWD, previous.c_str(), AT_FDCWD, current.c_str(), RENAME_EXCHANGE) != 0) {
    throw Failure(
        kFailed, current + ": cannot change places with " + previous + ": " + std::strerror(errno));
  }
  sync_folder(current);
}

}  // namespace jllm::tool
