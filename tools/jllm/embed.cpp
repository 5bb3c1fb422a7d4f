// jllm embed: a plan as a source file (or object) to link into a program, and a header that
// declares it with the sizes of the blocks that running it takes.
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "executor/text/tokenizer.h"
#include "jllm_version.h"
#include "tools/jllm/arguments.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/session.h"
#include "tools/jllm/subprocess.h"

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

void write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) throw Failure(kFailed, path + ": cannot be written");
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
void write_c(const std::string& plan, const std::string& symbol, const std::string& output) {
  std::ifstream in(plan, std::ios::binary);
  FILE* out = std::fopen(output.c_str(), "w");
  if (!in || out == nullptr) {
    if (out != nullptr) std::fclose(out);
    throw Failure(kFailed, (in ? output + ": cannot be written" : plan + ": cannot be read"));
  }
  std::fprintf(
      out,
      "/* Written by jllm embed. */\n"
      "#if defined(__GNUC__)\n#pragma GCC diagnostic ignored \"-Woverlength-strings\"\n#endif\n"
      "extern const unsigned char %s[%llu];\n"
      "__attribute__((aligned(4096))) const unsigned char %s[%llu] =\n",
      symbol.c_str(), static_cast<unsigned long long>(fs::file_size(plan)), symbol.c_str(),
      static_cast<unsigned long long>(fs::file_size(plan)));
  char block[24];
  while (in.read(block, sizeof block), in.gcount() > 0) {
    std::fputc('"', out);
    for (std::streamsize i = 0; i < in.gcount(); ++i) {
      std::fprintf(out, "\\%03o", static_cast<unsigned>(static_cast<unsigned char>(block[i])));
    }
    std::fputs("\"\n", out);
  }
  std::fputs(";\n", out);
  const bool good = std::ferror(out) == 0;
  if (std::fclose(out) != 0 || !good) throw Failure(kFailed, output + ": cannot be written");
}

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
  write_text(fs::path(target).replace_extension(".h").string(), header(plan, symbol, prompt));
  if (kind == ".c") {
    write_c(path, symbol, output);
  } else if (kind == ".S") {
    write_text(output, assembler(path, symbol));
  } else {
    const std::string source = output + ".S";
    write_text(source, assembler(path, symbol));
    assemble(source, output);
    fs::remove(source);
  }
  return kDone;
}

}  // namespace jllm::tool
