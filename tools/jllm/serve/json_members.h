// Members of a JSON object, read with their type and range checked; what is wrong is an ApiError
// that names the member. For the .cpp files that read requests: it brings in nlohmann's header.
#pragma once

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "tools/jllm/serve/api.h"

namespace jllm::serve {

using Json = nlohmann::ordered_json;

[[noreturn]] inline void refuse(const std::string& param, const std::string& message,
                                const std::string& code = "") {
  throw ApiError{400, (param.empty() ? "" : "'" + param + "' ") + message, param, code};
}

class Members {
 public:
  // `where`: how messages call the object ("messages[2]"); empty: the request itself.
  explicit Members(const Json& json, std::string where = "")
      : json_(json), where_(std::move(where)) {
    if (!json.is_object()) {
      if (where_.empty()) refuse("", "The request's body must be a JSON object");
      refuse(where_, "must be an object");
    }
  }

  std::string path(const std::string& name) const {
    return where_.empty() ? name : where_ + "." + name;
  }
  // Null where the member is not there, or is null itself.
  const Json* find(const char* name) const {
    const auto found = json_.find(name);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }
  bool flag(const char* name, bool otherwise) const {
    const Json* value = find(name);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) refuse(path(name), "must be true or false");
    return value->get<bool>();
  }
  std::string text(const char* name, const std::string& otherwise = "") const {
    const Json* value = find(name);
    if (value == nullptr) return otherwise;
    if (!value->is_string()) refuse(path(name), "must be a string");
    return value->get<std::string>();
  }
  std::string needed_text(const char* name) const {
    if (find(name) == nullptr) refuse(path(name), "is missing");
    return text(name);
  }
  uint64_t integer(const char* name, uint64_t otherwise, uint64_t min, uint64_t max) const {
    const Json* value = find(name);
    if (value == nullptr) return otherwise;
    const bool good = value->is_number_unsigned() && value->get<uint64_t>() >= min &&
                      value->get<uint64_t>() <= max;
    if (!good) {
      refuse(path(name),
             "must be an integer from " + std::to_string(min) + " to " + std::to_string(max));
    }
    return value->get<uint64_t>();
  }
  double number(const char* name, double otherwise, double min, double max) const {
    const Json* value = find(name);
    if (value == nullptr) return otherwise;
    if (!value->is_number() || !(value->get<double>() >= min && value->get<double>() <= max)) {
      char range[80];
      std::snprintf(range, sizeof range, "must be a number from %g to %g", min, max);
      refuse(path(name), range);
    }
    return value->get<double>();
  }

 private:
  const Json& json_;
  std::string where_;
};

// Deeper ones would let a request overflow the stack of whoever walks through it.
constexpr int kDeepest = 100;

inline Json parse_body(std::string_view body) {
  const auto check_depth = [](int depth, Json::parse_event_t, Json&) {
    if (depth > kDeepest) {
      throw ApiError{400, "The request's body is nested deeper than 100", "", "invalid_json"};
    }
    return true;
  };
  Json json = Json::parse(body, check_depth, false);
  if (json.is_discarded()) {
    throw ApiError{400, "The request's body is not valid JSON", "", "invalid_json"};
  }
  return json;
}

// A model's bytes may be no UTF-8.
inline std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace jllm::serve
