// Command-line options of jllm's commands, as a table: each option is parsed, checked and described
// in one place.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace jllm::tool {

class Arguments {
 public:
  // `summary` is what --help shows under the usage line.
  Arguments(std::string usage, std::string summary);

  // Names are given with their dashes; the short one may be empty.
  void flag(const char* short_name, const char* long_name, bool* value, const char* help);
  void text(const char* short_name, const char* long_name, std::string* value, const char* help);
  void number(const char* short_name, const char* long_name, double* value, double min, double max,
              const char* help);
  void integer(const char* short_name, const char* long_name, uint64_t* value, uint64_t max,
               const char* help);
  // The one positional argument.
  void positional(const char* name, std::string* value);

  // Fills the values. False when --help was asked for and printed. Throws Failure(kUsage).
  bool parse(int argc, char** argv);

 private:
  struct Option {
    std::string short_name, long_name, help;
    bool takes_value;
    std::function<void(const std::string&)> set;
  };
  void print_help() const;

  std::string usage_, summary_;
  std::vector<Option> options_;
  std::string positional_name_;
  std::string* positional_ = nullptr;
};

}  // namespace jllm::tool
