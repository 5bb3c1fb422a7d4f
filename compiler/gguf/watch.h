// Files that change while they are mapped. Reading behind the new end of a file that was cut would
// end the program by SIGBUS: here such pages become zeros, and whoever asks before the result
// counts gets an error that says what happened.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>
#include <sys/stat.h>

namespace jllm::gguf {

struct Watched;

// Takes the descriptor; `found` is what it said before the whole file was mapped to `bytes`.
Watched* watch(llvm::StringRef path, int fd, const struct stat& found,
               llvm::ArrayRef<uint8_t> bytes);
// To be called before the mapping goes.
void unwatch(Watched* watched);

// An error that names a mapped file that was cut, could not be read or was written to since it was
// mapped.
llvm::Error check_sources();
// The same instead of `error`, which may only be what came of it.
llvm::Error changed_source_or(llvm::Error error);
// The error of the first file of which zeros were read, mapped still or not.
llvm::Error cut_source();

}  // namespace jllm::gguf
