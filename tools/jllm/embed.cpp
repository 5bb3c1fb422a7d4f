// jllm embed: a plan as a source file (or object) to link into a program, and a header that
// declares it with the sizes of the blocks that running it takes.
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "executor/text/tokenizer.h"
#include "jllm_version.h"
#include "tools/jllm/arguments.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/session.h"
#include "tools/jllm/subprocess.h"
#include "tools/plan_file/replace_file.h"

namespace jllm::tool {
namespace {

namespace fs = std::filesystem;

// "my-model.q4" as a C name.
std::string symbol_of(const std::string& name) {
  std::string symbol;
  for (const char c : name) {
    symbol += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  }
  if (symbol.empty() || std::isdigit(static_cast<unsigned char>(symbol[0])) != 0) {
    symbol.insert(0, "plan_");
  }
  return symbol;
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

// What the assembler reads between quotes.
std::string quoted(const std::string& path) {
  std::string text;
  for (const char c : path) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return '"' + text + '"';
}

std::string assembler(const std::string& plan, const std::string& symbol) {
  return "/* Written by jllm embed: the plan itself, at a multiple of 4096 bytes. */\n"
         "    .section .rodata." +
         symbol +
         ",\"a\",%progbits\n"
         "    .balign 4096\n"
         "    .globl " +
         symbol +
         "\n"
         "    .type " +
         symbol + ", %object\n" + symbol +
         ":\n"
         "    .incbin " +
         quoted(fs::absolute(plan).string()) +
         "\n"
         "    .size " +
         symbol + ", . - " + symbol +
         "\n"
         "    .section .note.GNU-stack,\"\",%progbits\n";
}

// As a string, which compilers read fast, in C's octal escapes.
void write_c(OpenPlan& plan, const std::string& symbol, ReplaceFile* out) {
  const uint64_t size = plan.view().prefix().file_size;
  const std::string array = "const unsigned char " + symbol + "[" + std::to_string(size) + "]";
  out->append(
      "/* Written by jllm embed. */\n"
      "#if defined(__GNUC__)\n#pragma GCC diagnostic ignored \"-Woverlength-strings\"\n#endif\n"
      "extern " +
      array + ";\n__attribute__((aligned(4096))) " + array + " =\n");
  constexpr uint64_t kPiece = 1 << 20, kLine = 24;
  std::vector<uint8_t> bytes;
  std::string text;
  for (uint64_t offset = 0; offset < size; offset += bytes.size()) {
    bytes.resize(std::min(kPiece, size - offset));
    if (plan.file().source().read(offset, bytes.size(), bytes.data()) != Error::kOk) {
      throw Failure(kFailed, plan.file().path() + ": cannot be read");
    }
    text.clear();
    for (uint64_t i = 0; i < bytes.size(); ++i) {
      if (i % kLine == 0) text += i == 0 ? "\"" : "\"\n\"";
      const uint8_t byte = bytes[i];
      text += '\\';
      for (const int shift : {6, 3, 0}) text += static_cast<char>('0' + ((byte >> shift) & 7));
    }
    out->append(text + "\"\n");
  }
  out->append(";\n");
}

// For what the compiler is given and what it makes, beside what it becomes.
class WorkFolder {
 public:
  explicit WorkFolder(const std::string& beside) : path_(beside + ".XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) {
      throw Failure(kFailed, path_ + ": cannot be created: " + std::strerror(errno));
    }
  }
  ~WorkFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  std::string file(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// By the compiler that $CC names, so that cross compiling takes one word.
void assemble(const std::string& source, const std::string& output) {
  const char* named = std::getenv("CC");
  const std::string name = named != nullptr && *named != '\0' ? named : "cc";
  const bool is_path = name.find('/') != std::string::npos;
  const std::string compiler = is_path ? name : find_program(name);
  if (compiler.empty()) {
    throw Failure(kFailed, "no compiler '" + name +
                               "' to assemble with: name one in CC, or write a .S (-o FILE.S) and "
                               "assemble that");
  }
  if (run_program({compiler, "-c", source, "-o", output}, true).code != 0) {
    throw Failure(kFailed, compiler + " could not assemble " + source);
  }
}

std::string token_list(const std::vector<uint32_t>& tokens) {
  std::string list;
  for (const uint32_t token : tokens) list += (list.empty() ? "" : ", ") + std::to_string(token);
  return list;
}

std::string header(OpenPlan& plan, const std::string& symbol, const std::string& prompt) {
  const std::string name = upper(symbol);
  // One thread: firmware that starts its own says so and asks jllm_require().
  ExecutorOptions options;
  options.threads = 1;
  const uint64_t executor_bytes = Executor::required_bytes(plan.view(), options);
  const uint64_t arena_bytes = Executor::arena_bytes(plan.view());
  const auto define = [&](const char* what, uint64_t value) {
    return "#define " + name + "_" + what + " " + std::to_string(value) +
           (value > UINT32_MAX ? "ull\n" : "u\n");
  };
  std::string text =
      "/* Written by jllm embed " JLLM_VERSION ": " + plan.view().plan().model()->name()->str() +
      ". The sizes are those of that version of the\n"
      " * library with one thread; jllm_create() of another refuses blocks that are too small. */\n"
      "#ifndef " +
      name + "_H_\n#define " + name + "_H_\n\n" + define("SIZE", plan.view().prefix().file_size) +
      define("EXECUTOR_BYTES", executor_bytes) + define("ARENA_BYTES", arena_bytes) +
      define("CONTEXT", plan.view().plan().model()->context()) +
      define("VOCAB_SIZE", plan.view().plan().model()->vocab_size());
  if (!prompt.empty()) {
    const std::vector<uint32_t> tokens = plan.tokenizer().encode(prompt, {true, true});
    text += "/* The tokens of the prompt, for programs without a tokenizer. */\n" +
            define("PROMPT_COUNT", tokens.size()) + "#define " + name + "_PROMPT \\\n  { " +
            token_list(tokens) + " }\n";
  }
  return text +
         "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n"
         "extern const unsigned char " +
         symbol + "[" + name +
         "_SIZE];\n"
         "#ifdef __cplusplus\n}\n#endif\n\n#endif /* " +
         name + "_H_ */\n";
}

}  // namespace

int embed_command(int argc, char** argv) {
  std::string path, output, symbol, prompt, file;
  Arguments arguments(
      "jllm embed PLAN.jllm -o FILE.S|FILE.o|FILE.c [--symbol NAME] [-p TEXT | -f FILE]",
      "Makes a plan a part of a program: writes it as assembler (which includes the plan's file "
      "when it is assembled), as an object file ($CC assembles it) or as C, and beside it FILE.h, "
      "with the plan's name and the sizes of the blocks that running it takes.");
  arguments.positional("PLAN.jllm", &path);
  arguments.text("-o", "--output", &output, "the file to write, by its ending .S, .o or .c");
  arguments.text("", "--symbol", &symbol, "name of the array (default: of the file)");
  arguments.text("-p", "--prompt", &prompt,
                 "also write the tokens of this text to the header, for programs without a "
                 "tokenizer");
  arguments.text("-f", "--file", &file, "read that text from a file (- for standard input)");
  if (!arguments.parse(argc, argv)) return kDone;
  const fs::path target(output);
  const std::string kind = target.extension().string();
  if (kind != ".S" && kind != ".o" && kind != ".c") {
    throw Failure(kUsage, "-o takes a file that ends in .S, .o or .c");
  }
  if (symbol.empty()) symbol = symbol_of(target.stem().string());
  if (symbol != symbol_of(symbol)) {
    throw Failure(kUsage,
                  "--symbol '" + symbol + "' is not a C name; say --symbol " + symbol_of(symbol));
  }
  if (!file.empty()) prompt = read_text(file);
  OpenPlan plan(path);  // proves it: no damaged plan is linked in
  if (plan.file().weights() != nullptr) {
    throw Failure(kUnsupported, path +
                                    ": the plan's weights are in a file of their own; compile it "
                                    "without --split-weights to make it a part of a program");
  }
  ReplaceFile declaration(fs::path(target).replace_extension(".h").string());
  declaration.append(header(plan, symbol, prompt));
  if (kind == ".o") {
    const WorkFolder folder(output);
    ReplaceFile source(folder.file("plan.S"));
    source.append(assembler(path, symbol));
    source.commit();
    assemble(folder.file("plan.S"), folder.file("plan.o"));
    rename_and_sync(folder.file("plan.o"), output);
  } else {
    ReplaceFile body(output);
    if (kind == ".c") {
      write_c(plan, symbol, &body);
    } else {
      body.append(assembler(path, symbol));
    }
    body.commit();
  }
  declaration.commit();
  return kDone;
}

}  // namespace jllm::tool
