// Where a plan's bytes come from: a file, flash, or memory.
#pragma once

#include <cstdint>

#include "schema/result.h"
#include "schema/view.h"

namespace jllm {

class JLLM_EXPORT PlanSource {
 public:
  virtual uint64_t size() const = 0;
  // Fills dst with bytes [offset, offset + size) of the plan.
  virtual Error read(uint64_t offset, uint64_t size, void* dst) = 0;

 protected:
  ~PlanSource() = default;
};

// Reads a file with pread and drops what it read from the page cache, so that on memory shared by
// CPU and GPU the weights exist once. A file that has changed since open(), or is cut off, fails to
// be read: a plan is replaced by renaming another one to its name, which leaves the open one whole.
class JLLM_EXPORT FileSource final : public PlanSource {
 public:
  FileSource() = default;
  ~FileSource();
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  // The message names the path and the system's reason.
  Error open(const char* path, Message* message);
  uint64_t size() const override { return size_; }
  Error read(uint64_t offset, uint64_t size, void* dst) override;

 private:
  bool has_changed() const;

  int fd_ = -1;
  uint64_t size_ = 0;
  int64_t modified_seconds_ = 0, modified_nanoseconds_ = 0;
};

// A plan that is already in memory (linked into the program, or mapped).
class JLLM_EXPORT MemorySource final : public PlanSource {
 public:
  MemorySource(const void* data, uint64_t size)
      : data_(static_cast<const uint8_t*>(data)), size_(size) {}
  uint64_t size() const override { return size_; }
  Error read(uint64_t offset, uint64_t size, void* dst) override;

 private:
  const uint8_t* data_;
  uint64_t size_;
};

}  // namespace jllm
