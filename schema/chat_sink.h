// Where a rendered conversation goes: into the caller's room, or only counted, to learn how much
// room that is.
#pragma once

#include <algorithm>
#include <string_view>

#include "schema/chat_format.h"

namespace jllm {

class ChatSink {
 public:
  ChatSink() = default;  // counts
  explicit ChatSink(ChatText* out)
      : out_(out), room_(out->capacity), ranges_(out->trusted_capacity) {
    out_->size = out_->trusted_count = 0;
  }

  // False where it does not fit.
  bool append(std::string_view text) {
    if (text.size() > room_ - size_) return false;
    if (out_ != nullptr) {
      std::copy(text.begin(), text.end(), out_->text + size_);
      out_->size = size_ + text.size();
    }
    size_ += text.size();
    return true;
  }

  // The same for the template's own text.
  bool append_trusted(std::string_view text) {
    const size_t begin = size_;
    if (text.empty()) return true;
    if (!append(text)) return false;
    const bool continues = count_ > 0 && trusted_end_ == begin;
    if (!continues && count_ == ranges_) return false;
    if (!continues) ++count_;
    trusted_end_ = size_;
    if (out_ == nullptr) return true;
    if (!continues) out_->trusted[count_ - 1].begin = begin;
    out_->trusted[count_ - 1].end = size_;
    out_->trusted_count = count_;
    return true;
  }

  // Takes `bytes` from the far end of the room for other uses; null where they do not fit, and
  // where nothing but counting is done.
  char* take_room(size_t bytes) {
    if (bytes > room_ - size_) return nullptr;
    room_ -= bytes;
    return out_ == nullptr ? nullptr : out_->text + room_;
  }

  bool counts() const { return out_ == nullptr; }
  size_t size() const { return size_; }
  size_t ranges() const { return count_; }

 private:
  ChatText* out_ = nullptr;
  size_t room_ = SIZE_MAX;
  size_t ranges_ = SIZE_MAX;
  size_t size_ = 0;
  size_t count_ = 0;
  size_t trusted_end_ = 0;
};

}  // namespace jllm
