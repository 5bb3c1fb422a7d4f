#include "tools/jllm/serve/json_grammar.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace jllm::serve {
namespace {

using nlohmann::ordered_json;
using text::Grammar;
using Node = Grammar::Node;
using Rule = Grammar::Rule;

constexpr uint64_t kMostRepeats = 4096;  // of minLength, maxLength, minItems, maxItems
constexpr size_t kMostNodes = 200000;    // of a grammar: a schema that unfolds further is refused

// The parts that all JSON has, each a rule.
class JsonRules {
 public:
  explicit JsonRules(Grammar& grammar) : g_(grammar) {
    space_ = g_.add_rule();
    character_ = g_.add_rule();
    string_ = g_.add_rule();
    integer_ = g_.add_rule();
    number_ = g_.add_rule();
    object_ = g_.add_rule();
    array_ = g_.add_rule();
    value_ = g_.add_rule();
    g_.define_rule(space_, make_space());
    g_.define_rule(character_, make_character());
    g_.define_rule(string_, quoted([&](Node next) { return star(character_, next); }, g_.end()));
    g_.define_rule(integer_, make_integer(g_.end()));
    g_.define_rule(number_, make_number());
    g_.define_rule(value_, make_value());
    g_.define_rule(object_, make_object());
    g_.define_rule(array_, make_array());
  }

  Rule character() const { return character_; }
  Rule string() const { return string_; }
  Rule integer() const { return integer_; }
  Rule number() const { return number_; }
  Rule object() const { return object_; }
  Rule array() const { return array_; }
  Rule value() const { return value_; }

  Node space(Node next) { return g_.call(space_, next); }
  Node byte(char c, Node next) {
    return g_.range(static_cast<uint8_t>(c), static_cast<uint8_t>(c), next);
  }
  Node one_of(const std::vector<Node>& nodes) {
    Node all = nodes.back();
    for (size_t i = nodes.size() - 1; i-- > 0;) all = g_.either(nodes[i], all);
    return all;
  }
  // Any number of texts of a rule.
  Node star(Rule rule, Node next) {
    const Node loop = g_.forward();
    g_.define(loop, g_.either(g_.call(rule, loop), next));
    return loop;
  }
  // `least` to `most` of them; no most: any number from there on.
  Node repeat(Rule rule, uint64_t least, std::optional<uint64_t> most, Node next) {
    Node node = next;
    if (most) {
      for (uint64_t i = *most; i > least; --i) node = g_.either(g_.call(rule, node), next);
    } else {
      node = star(rule, next);
    }
    for (uint64_t i = 0; i < least; ++i) node = g_.call(rule, node);
    return node;
  }
  // A comma and then `more`, or `close`.
  Node either_comma(Node more, Node close) {
    return space(g_.either(byte(',', space(more)), close));
  }
  template <typename Inside>
  Node quoted(const Inside& inside, Node next) {
    return byte('"', inside(byte('"', next)));
  }

 private:
  Node make_space() {
    Node indent = g_.end();
    for (int i = 0; i < 16; ++i) indent = g_.either(byte(' ', indent), g_.end());
    return one_of({g_.end(), byte(' ', g_.end()), byte('\n', indent)});
  }

  // A character of a string: UTF-8 without surrogates (RFC 3629), or an escape.
  Node make_character() {
    const Node end = g_.end();
    const auto tail = [&](Node next) { return g_.range(0x80, 0xbf, next); };
    const auto hex = [&](Node next) {
      return one_of({g_.range('0', '9', next), g_.range('a', 'f', next), g_.range('A', 'F', next)});
    };
    const Node three = hex(hex(hex(end)));
    const Node unicode =
        one_of({g_.range('0', '9', three), g_.range('a', 'c', three), g_.range('A', 'C', three),
                g_.range('e', 'f', three), g_.range('E', 'F', three),
                one_of({byte('d', g_.range('0', '7', hex(hex(end)))),
                        byte('D', g_.range('0', '7', hex(hex(end))))})});
    std::vector<Node> escapes = {byte('u', unicode)};
    for (const char c : std::string("\"\\/bfnrt")) escapes.push_back(byte(c, end));
    return one_of({g_.range(0x20, '"' - 1, end), g_.range('"' + 1, '\\' - 1, end),
                   g_.range('\\' + 1, 0x7f, end), byte('\\', one_of(escapes)),
                   g_.range(0xc2, 0xdf, tail(end)),
                   g_.range(0xe0, 0xe0, g_.range(0xa0, 0xbf, tail(end))),
                   g_.range(0xe1, 0xec, tail(tail(end))),
                   g_.range(0xed, 0xed, g_.range(0x80, 0x9f, tail(end))),
                   g_.range(0xee, 0xef, tail(tail(end))),
                   g_.range(0xf0, 0xf0, g_.range(0x90, 0xbf, tail(tail(end)))),
                   g_.range(0xf1, 0xf3, tail(tail(tail(end)))),
                   g_.range(0xf4, 0xf4, g_.range(0x80, 0x8f, tail(tail(end))))});
  }

  // Up to `most` digits, then `next`. Numbers of bounded length: a model may not count for ever.
  Node digits(int least, int most, Node next) {
    Node node = next;
    for (int i = most; i-- > 0;) {
      const Node digit = g_.range('0', '9', node);
      node = i < least ? digit : g_.either(digit, next);
    }
    return node;
  }
  Node make_integer(Node next) {
    const Node positive = g_.either(byte('0', next), g_.range('1', '9', digits(0, 17, next)));
    return g_.either(positive, byte('-', positive));
  }
  Node make_number() {
    const Node end = g_.end();
    const Node power = digits(1, 2, end);
    const Node signed_power = one_of({power, byte('+', power), byte('-', power)});
    const Node exponent = one_of({end, byte('e', signed_power), byte('E', signed_power)});
    return make_integer(g_.either(exponent, byte('.', digits(1, 17, exponent))));
  }
  Node make_value() {
    const Node end = g_.end();
    return one_of({g_.call(object_, end), g_.call(array_, end), g_.call(string_, end),
                   g_.call(number_, end), g_.literal("true", end), g_.literal("false", end),
                   g_.literal("null", end)});
  }
  Node make_object() {
    const Node close = byte('}', g_.end());
    const Node loop = g_.forward();
    const Node member =
        g_.call(string_, space(byte(':', space(g_.call(value_, either_comma(loop, close))))));
    g_.define(loop, member);
    return byte('{', space(g_.either(close, member)));
  }
  Node make_array() {
    const Node close = byte(']', g_.end());
    const Node loop = g_.forward();
    const Node element = g_.call(value_, either_comma(loop, close));
    g_.define(loop, element);
    return byte('[', space(g_.either(close, element)));
  }

  Grammar& g_;
  Rule space_ = 0, character_ = 0, string_ = 0, integer_ = 0, number_ = 0, object_ = 0, array_ = 0,
       value_ = 0;
};

const std::set<std::string> kAnnotations = {
    "title", "description", "default",    "examples", "$schema",   "$id",    "$comment",
    "$defs", "definitions", "deprecated", "readOnly", "writeOnly", "strict", "name"};

class SchemaCompiler {
 public:
  SchemaCompiler(const ordered_json& schema, Grammar& grammar)
      : root_(schema), g_(grammar), json_(grammar) {}

  Node run(Node next) { return g_.call(rule_of("#", root_), next); }

 private:
  [[noreturn]] static void fail(const std::string& place, const std::string& what) {
    throw SchemaError(place + ": " + what);
  }

  // The rule of the schema at this place, compiled once.
  Rule rule_of(const std::string& place, const ordered_json& schema) {
    const auto [found, is_new] = rules_.try_emplace(place, 0);
    if (!is_new) return found->second;
    const Rule rule = found->second = g_.add_rule();
    g_.define_rule(rule, compile(place, schema, g_.end()));
    if (++count_ > kMostNodes / 16) fail(place, "the schema has too many parts");
    return rule;
  }

  Node compile(const std::string& place, const ordered_json& schema, Node next) {
    if (schema.is_boolean()) {
      if (!schema.get<bool>()) fail(place, "false takes no value at all");
      return g_.call(json_.value(), next);
    }
    if (!schema.is_object()) fail(place, "a schema is an object");
    if (schema.contains("$ref")) return reference(place, schema, next);
    for (const char* choice : {"anyOf", "oneOf", "allOf"}) {
      if (schema.contains(choice)) return alternatives(place, schema, choice, next);
    }
    if (schema.contains("const")) {
      refuse_others(place, schema, {"const", "type"});
      return g_.literal(schema["const"].dump(), next);
    }
    if (schema.contains("enum")) return enumeration(place, schema, next);
    if (!schema.contains("type")) {
      if (schema.contains("properties")) return object(place, schema, next);
      refuse_others(place, schema, {});
      return g_.call(json_.value(), next);
    }
    const ordered_json& type = schema["type"];
    if (type.is_string()) return of_type(place, schema, type.get<std::string>(), next);
    if (!type.is_array() || type.empty()) fail(place + "/type", "a name or a list of names");
    std::vector<Node> nodes;
    for (const ordered_json& one : type) {
      if (!one.is_string()) fail(place + "/type", "a name or a list of names");
      ordered_json alone = schema;
      alone["type"] = one;
      nodes.push_back(
          of_type(place, only_for(alone, one.get<std::string>()), one.get<std::string>(), next));
    }
    return json_.one_of(nodes);
  }

  // Of a schema for several types, what concerns this one.
  static ordered_json only_for(const ordered_json& schema, const std::string& type) {
    static const std::map<std::string, std::string> kOwner = {
        {"properties", "object"}, {"required", "object"},   {"additionalProperties", "object"},
        {"items", "array"},       {"prefixItems", "array"}, {"minItems", "array"},
        {"maxItems", "array"},    {"minLength", "string"},  {"maxLength", "string"}};
    ordered_json kept = ordered_json::object();
    for (const auto& [key, value] : schema.items()) {
      const auto owner = kOwner.find(key);
      if (owner == kOwner.end() || owner->second == type) kept[key] = value;
    }
    return kept;
  }

  void refuse_others(const std::string& place, const ordered_json& schema,
                     const std::set<std::string>& known) const {
    for (const auto& [key, value] : schema.items()) {
      if (known.count(key) == 0 && kAnnotations.count(key) == 0) {
        fail(place, "the keyword '" + key + "' is not supported here");
      }
    }
  }

  Node reference(const std::string& place, const ordered_json& schema, Node next) {
    refuse_others(place, schema, {"$ref"});
    if (!schema["$ref"].is_string()) fail(place + "/$ref", "a string");
    const std::string to = schema["$ref"].get<std::string>();
    if (to.empty() || to[0] != '#') fail(place + "/$ref", "only places in this schema: #/...");
    const ordered_json* target = nullptr;
    try {
      target = &root_.at(ordered_json::json_pointer(to.substr(1)));
    } catch (const ordered_json::exception&) {
      fail(place + "/$ref", to + " is not in the schema");
    }
    const bool is_reference = target->is_object() && target->contains("$ref");
    if (!is_reference) return g_.call(rule_of(to, *target), next);
    if (!open_.insert(to).second) fail(place + "/$ref", to + " only leads back to itself");
    const Node node = compile(to, *target, next);
    open_.erase(to);
    return node;
  }

  Node alternatives(const std::string& place, const ordered_json& schema, const char* choice,
                    Node next) {
    refuse_others(place, schema, {choice});
    const ordered_json& list = schema[choice];
    if (!list.is_array() || list.empty()) fail(place + "/" + choice, "a list of schemas");
    if (std::string(choice) == "allOf" && list.size() != 1) {
      fail(place + "/allOf", "only one schema is supported here");
    }
    std::vector<Node> nodes;
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string at = place + "/" + choice + "/" + std::to_string(i);
      nodes.push_back(compile(at, list[i], next));
    }
    return json_.one_of(nodes);
  }

  Node enumeration(const std::string& place, const ordered_json& schema, Node next) {
    refuse_others(place, schema, {"enum", "type"});
    const ordered_json& values = schema["enum"];
    if (!values.is_array() || values.empty() || values.size() > 1000) {
      fail(place + "/enum", "a list of 1 to 1000 values");
    }
    std::vector<Node> nodes;
    for (const ordered_json& value : values) nodes.push_back(g_.literal(value.dump(), next));
    return json_.one_of(nodes);
  }

  Node of_type(const std::string& place, const ordered_json& schema, const std::string& type,
               Node next) {
    if (type == "object") return object(place, schema, next);
    if (type == "array") return array(place, schema, next);
    if (type == "string") return string(place, schema, next);
    refuse_others(place, schema, {"type"});
    if (type == "number") return g_.call(json_.number(), next);
    if (type == "integer") return g_.call(json_.integer(), next);
    if (type == "boolean") {
      return g_.either(g_.literal("true", next), g_.literal("false", next));
    }
    if (type == "null") return g_.literal("null", next);
    fail(place + "/type", "there is no type '" + type + "'");
  }

  // `least` and `most` of two keywords.
  std::pair<uint64_t, std::optional<uint64_t>> bounds(const std::string& place,
                                                      const ordered_json& schema, const char* least,
                                                      const char* most) const {
    std::pair<uint64_t, std::optional<uint64_t>> result = {0, std::nullopt};
    const auto number = [&](const char* key) -> uint64_t {
      const ordered_json& value = schema[key];
      if (!value.is_number_unsigned() || value.get<uint64_t>() > kMostRepeats) {
        fail(place + "/" + key, "a whole number up to " + std::to_string(kMostRepeats));
      }
      return value.get<uint64_t>();
    };
    if (schema.contains(least)) result.first = number(least);
    if (schema.contains(most)) result.second = number(most);
    if (result.second && *result.second < result.first) {
      fail(place, std::string(most) + " is less than " + least);
    }
    return result;
  }

  Node string(const std::string& place, const ordered_json& schema, Node next) {
    refuse_others(place, schema, {"type", "minLength", "maxLength"});
    const auto [least, most] = bounds(place, schema, "minLength", "maxLength");
    if (least == 0 && !most) return g_.call(json_.string(), next);
    return json_.quoted(
        [&, least = least, most = most](Node quote) {
          return json_.repeat(json_.character(), least, most, quote);
        },
        next);
  }

  Node array(const std::string& place, const ordered_json& schema, Node next) {
    refuse_others(place, schema, {"type", "items", "prefixItems", "minItems", "maxItems"});
    auto [least, most] = bounds(place, schema, "minItems", "maxItems");
    const ordered_json none = ordered_json::array();
    const ordered_json& firsts = schema.contains("prefixItems") ? schema["prefixItems"] : none;
    if (!firsts.is_array()) fail(place + "/prefixItems", "a list of schemas");
    const bool closed = schema.contains("items") && schema["items"] == false;
    if (closed && (!most || *most > firsts.size())) most = firsts.size();
    if (most && *most < least) fail(place, "there can be no so many items");
    const Rule item = closed                     ? json_.value()
                      : schema.contains("items") ? rule_of(place + "/items", schema["items"])
                                                 : json_.value();
    const auto rule_at = [&](uint64_t i) {
      if (i >= firsts.size()) return item;
      return rule_of(place + "/prefixItems/" + std::to_string(i), firsts[i]);
    };
    const Node close = json_.byte(']', next);
    // Behind `known` items, from the last to the first.
    const uint64_t known = most ? *most : std::max<uint64_t>(least, firsts.size());
    Node node = close;
    if (!most) {
      const Node loop = g_.forward();
      g_.define(loop, json_.either_comma(g_.call(item, loop), close));
      node = loop;
    } else {
      node = json_.space(close);
    }
    for (uint64_t i = known; i > 0; --i) {
      const Node one = g_.call(rule_at(i - 1), node);
      if (i == 1) {
        node = one;
        break;
      }
      const Node more = json_.byte(',', json_.space(one));
      node = json_.space(i - 1 >= least ? g_.either(more, close) : more);
    }
    if (known == 0) {
      if (most) return json_.byte('[', json_.space(close));
      node = g_.call(item, node);
    }
    return json_.byte('[', json_.space(least == 0 ? g_.either(node, close) : node));
  }

  Node object(const std::string& place, const ordered_json& schema, Node next) {
    refuse_others(place, schema, {"type", "properties", "required", "additionalProperties"});
    const ordered_json empty = ordered_json::object(), none = ordered_json::array();
    const ordered_json& properties = schema.contains("properties") ? schema["properties"] : empty;
    const ordered_json& list = schema.contains("required") ? schema["required"] : none;
    if (!properties.is_object()) fail(place + "/properties", "an object");
    if (!list.is_array()) fail(place + "/required", "a list of names");
    std::set<std::string> required;
    for (const ordered_json& name : list) {
      if (!name.is_string() || !properties.contains(name.get<std::string>())) {
        fail(place + "/required", name.dump() + " is not among the properties");
      }
      required.insert(name.get<std::string>());
    }
    const ordered_json others = schema.contains("additionalProperties")
                                    ? schema["additionalProperties"]
                                    : ordered_json(true);
    if (properties.empty() && others != false) {
      return free_object(
          others == true ? json_.value() : rule_of(place + "/additionalProperties", others), next);
    }
    if (others != false && others != true) {
      fail(place + "/additionalProperties", "beside properties only true or false");
    }
    // From the last property to the first: what may follow where none has been written yet, and
    // where one has.
    const Node close = json_.space(json_.byte('}', next));
    Node none_yet = close, some = close;
    std::vector<std::string> names;
    for (const auto& [name, value] : properties.items()) names.push_back(name);
    for (size_t i = names.size(); i-- > 0;) {
      const std::string& name = names[i];
      const Rule rule = rule_of(place + "/properties/" + escaped(name), properties[name]);
      const Node member =
          g_.literal(ordered_json(name).dump(),
                     json_.space(json_.byte(':', json_.space(g_.call(rule, some)))));
      const Node behind_comma = json_.space(json_.byte(',', json_.space(member)));
      const Node first = json_.space(member);
      const bool must = required.count(name) > 0;
      some = must ? behind_comma : g_.either(behind_comma, some);
      none_yet = must ? first : g_.either(first, none_yet);
    }
    return json_.byte('{', none_yet);
  }

  Node free_object(Rule value, Node next) {
    const Node close = json_.byte('}', next);
    const Node loop = g_.forward();
    const Node more = json_.either_comma(loop, close);
    g_.define(loop, g_.call(json_.string(),
                            json_.space(json_.byte(':', json_.space(g_.call(value, more))))));
    return json_.byte('{', json_.space(g_.either(close, loop)));
  }

  // A name as a part of a JSON pointer.
  static std::string escaped(const std::string& name) {
    std::string text;
    for (const char c : name) text += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
    return text;
  }

  const ordered_json& root_;
  Grammar& g_;
  JsonRules json_;
  std::map<std::string, Rule> rules_;
  std::set<std::string> open_;  // references that are being followed
  size_t count_ = 0;
};

}  // namespace

text::Grammar json_object_grammar() {
  text::Grammar grammar;
  JsonRules rules(grammar);
  grammar.set_root(grammar.call(rules.object(), grammar.end()));
  return grammar;
}

text::Grammar json_schema_grammar(const ordered_json& schema) {
  text::Grammar grammar;
  grammar.set_root(json_schema_node(schema, &grammar, grammar.end()));
  return grammar;
}

Node json_schema_node(const ordered_json& schema, text::Grammar* grammar, Node next) {
  return SchemaCompiler(schema, *grammar).run(next);
}

}  // namespace jllm::serve
