#include "tools/jllm/arguments.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "tools/jllm/session.h"

namespace jllm::tool {

Arguments::Arguments(std::string usage, std::string summary)
    : usage_(std::move(usage)), summary_(std::move(summary)) {}

void Arguments::flag(const char* short_name, const char* long_name, bool* value, const char* help) {
  options_.push_back(
      {short_name, long_name, help, false, [=](const std::string&) { *value = true; }});
}

void Arguments::text(const char* short_name, const char* long_name, std::string* value,
                     const char* help) {
  options_.push_back(
      {short_name, long_name, help, true, [=](const std::string& s) { *value = s; }});
}

void Arguments::number(const char* short_name, const char* long_name, double* value, double min,
                       double max, const char* help) {
  const std::string name = long_name;
  options_.push_back({short_name, name, help, true, [=](const std::string& s) {
                        char* end = nullptr;
                        *value = std::strtod(s.c_str(), &end);
                        if (s.empty() || *end != 0 || !(*value >= min && *value <= max)) {
                          char text[128];
                          std::snprintf(text, sizeof text, ": expected a number from %g to %g", min,
                                        max);
                          throw Failure(kUsage, name + " " + s + text);
                        }
                      }});
}

void Arguments::integer(const char* short_name, const char* long_name, uint64_t* value,
                        uint64_t max, const char* help) {
  const std::string name = long_name;
  options_.push_back({short_name, name, help, true, [=](const std::string& s) {
                        char* end = nullptr;
                        errno = 0;
                        *value = std::strtoull(s.c_str(), &end, 10);
                        if (s.empty() || s[0] == '-' || *end != 0 || errno != 0 || *value > max) {
                          throw Failure(kUsage, name + " " + s + ": expected a number from 0 to " +
                                                    std::to_string(max));
                        }
                      }});
}

void Arguments::positional(const char* name, std::string* value) {
  positional_name_ = name;
  positional_ = value;
}

void Arguments::print_help() const {
  std::printf("usage: %s\n\n%s\n\noptions:\n", usage_.c_str(), summary_.c_str());
  for (const Option& option : options_) {
    const std::string names =
        (option.short_name.empty() ? "    " : option.short_name + ", ") + option.long_name;
    std::printf("  %-24s %s\n", names.c_str(), option.help.c_str());
  }
}

bool Arguments::parse(int argc, char** argv) {
  bool found_positional = false;
  for (int i = 0; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--help" || word == "-h") {
      print_help();
      return false;
    }
    const size_t equals = word.rfind("--", 0) == 0 ? word.find('=') : std::string::npos;
    const std::string name = word.substr(0, equals);
    const Option* match = nullptr;
    for (const Option& option : options_) {
      if (name == option.long_name || (!option.short_name.empty() && name == option.short_name))
        match = &option;
    }
    if (match == nullptr) {
      if ((word.size() > 1 && word[0] == '-') || positional_ == nullptr || found_positional) {
        throw Failure(kUsage, "unknown argument '" + word + "'\nusage: " + usage_);
      }
      *positional_ = word;
      found_positional = true;
    } else if (!match->takes_value) {
      match->set("");
    } else if (equals != std::string::npos) {
      match->set(word.substr(equals + 1));
    } else if (i + 1 < argc) {
      match->set(argv[++i]);
    } else {
      throw Failure(kUsage, name + " needs a value\nusage: " + usage_);
    }
  }
  if (positional_ != nullptr && !found_positional) {
    throw Failure(kUsage, positional_name_ + " is missing\nusage: " + usage_);
  }
  return true;
}

}  // namespace jllm::tool
