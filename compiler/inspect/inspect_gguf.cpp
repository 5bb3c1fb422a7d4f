// A GGUF file as a table and as JSON: header, hyper-parameters, tokenizer, chat template, tensors.
#include <llvm/Support/FormatVariadic.h>
#include <llvm/Support/JSON.h>

#include "compiler/gguf/type_table.h"
#include "compiler/inspect/inspect.h"
#include "compiler/report/report.h"
#include "compiler/support/error.h"

namespace jllm::inspect {
namespace {

using llvm::formatv;

constexpr size_t kLongestText = 80;  // characters of a string value that a listing shows

template <typename T>
std::optional<T> value_of(llvm::Expected<T> expected) {
  if (expected) return *expected;
  llvm::consumeError(expected.takeError());
  return std::nullopt;
}

// A value as one line of text: numbers, strings cut to a line, arrays by type and length.
std::string describe(const gguf::File& file, const std::string& key) {
  using gguf::ValueType;
  switch (file.value_type(key).value_or(ValueType::kArray)) {
    case ValueType::kArray:
      if (const auto shape = file.array_shape(key))
        return formatv("array of {0}", shape->second).str();
      return "?";
    case ValueType::kString: {
      const auto text = value_of(file.get_string(key));
      std::string line;
      for (const char c : text ? text->take_front(kLongestText) : llvm::StringRef()) {
        line += c == '\n'                            ? std::string("\\n")
                : static_cast<unsigned char>(c) < 32 ? "?"
                                                     : std::string(1, c);
      }
      return text && text->size() > kLongestText ? line + "..." : line;
    }
    case ValueType::kBool: {
      const auto flag = value_of(file.get_bool(key));
      return flag && *flag ? "true" : "false";
    }
    default: {
      const auto number = value_of(file.get_f64(key));
      return number ? formatv("{0}", *number).str() : "?";
    }
  }
}

std::string describe_number(const gguf::File& file, const std::string& key) {
  const auto whole = value_of(file.get_u64(key));
  return whole ? std::to_string(*whole) : describe(file, key);
}

std::string shape_text(const gguf::TensorInfo& tensor) {
  std::string text;
  for (const uint64_t n : tensor.shape) text += (text.empty() ? "" : " x ") + std::to_string(n);
  return text;
}

}  // namespace

void print_gguf_text(const gguf::File& file, llvm::raw_ostream& out) {
  uint64_t elements = 0;
  uint64_t bytes = 0;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    elements += tensor.elements();
    bytes += tensor.byte_size;
  }
  out << formatv(
      "{0}: GGUF version {1}, {2} of file, {3} tensors, {4:F1} M parameters, {5} of weights, "
      "alignment {6}\n\n",
      file.path(), file.version(), report::format_bytes(file.file_bytes()), file.tensors().size(),
      double(elements) / 1e6, report::format_bytes(bytes), file.alignment());
  out << "metadata\n";
  for (const std::string& key : file.keys()) {
    out << formatv("  {0,-48} {1}\n", key, describe_number(file, key));
  }
  if (const auto chat = value_of(file.get_string("tokenizer.chat_template"))) {
    out << "\nchat template\n";
    for (llvm::StringRef rest = *chat; !rest.empty();) {
      const auto [line, tail] = rest.split('\n');
      out << "  | " << line << '\n';
      rest = tail;
    }
  }
  out << "\ntensors\n";
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    out << formatv("  {0,-32} {1,-20} {2,-8} {3,12}\n", tensor.name, shape_text(tensor),
                   gguf::type_name(tensor.type_id), report::format_bytes(tensor.byte_size));
  }
}

void print_gguf_json(const gguf::File& file, llvm::raw_ostream& out) {
  llvm::json::OStream json(out, 2);
  json.object([&] {
    json.attribute("format", "gguf");
    json.attribute("path", llvm::json::fixUTF8(file.path()));
    json.attribute("version", int64_t(file.version()));
    json.attribute("file_bytes", int64_t(file.file_bytes()));
    json.attribute("alignment", int64_t(file.alignment()));
    json.attributeObject("metadata", [&] {
      for (const std::string& key : file.keys()) {
        const std::string name = llvm::json::fixUTF8(key);
        if (const auto number = value_of(file.get_u64(key))) {
          json.attribute(name, int64_t(*number));
        } else if (const auto real = value_of(file.get_f64(key))) {
          json.attribute(name, *real);
        } else if (const auto text = value_of(file.get_string(key))) {
          json.attribute(name, llvm::json::fixUTF8(*text));
        } else if (const auto flag = value_of(file.get_bool(key))) {
          json.attribute(name, *flag);
        } else if (const auto shape = file.array_shape(key)) {
          json.attributeObject(name,
                               [&] { json.attribute("array_length", int64_t(shape->second)); });
        }
      }
    });
    json.attributeArray("tensors", [&] {
      for (const gguf::TensorInfo& tensor : file.tensors()) {
        json.object([&] {
          json.attribute("name", llvm::json::fixUTF8(tensor.name));
          json.attributeArray("shape", [&] {
            for (const uint64_t n : tensor.shape) json.value(int64_t(n));
          });
          json.attribute("type", gguf::type_name(tensor.type_id));
          json.attribute("bytes", int64_t(tensor.byte_size));
        });
      }
    });
  });
  out << '\n';
}

}  // namespace jllm::inspect
