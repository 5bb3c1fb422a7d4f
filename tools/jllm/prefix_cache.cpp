#include "tools/jllm/prefix_cache.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/plan_file/prefix_file.h"

namespace jllm::tool {
namespace {

// Empty where the executor has the prefix now.
std::string read_from(PrefixReport* report, uint64_t plan_hash, Executor& executor,
                      const std::vector<uint32_t>& tokens) {
  FileSource file;
  Message message;
  if (file.open(report->path.c_str(), &message) != Error::kOk) return message.text;
  const std::string refusal = read_prefix(file, plan_hash, executor, tokens);
  if (!refusal.empty()) return report->path + " " + refusal;
  report->file_bytes = file.size();
  return "";
}

void compute(Session& session, const std::vector<uint32_t>& tokens) {
  const auto count = static_cast<uint32_t>(tokens.size());
  session.check(session.executor().rewind(0));
  session.check(session.executor().prefill(tokens.data(), count));
  session.check(session.executor().rewind(count));  // as it is behind a file, to the bit
}

void write_to(PrefixReport* report, uint64_t plan_hash, Executor& executor,
              const std::vector<uint32_t>& tokens) {
  try {
    report->file_bytes = write_prefix(report->path, plan_hash, executor, tokens);
  } catch (const Failure& failure) {
    report->not_written = failure.what();
  }
}

}  // namespace

void add_options(Arguments* a, PrefixOptions* o, const std::string& whose) {
  a->text("", "--system", &o->system, ("the system text of " + whose).c_str());
  a->text("", "--system-file", &o->system_file,
          "the same, from a file (- for standard input); its last line's end is not part of it");
  a->text(
      "", "--prefix-cache", &o->cache,
      "file that keeps what the plan makes of the system text: written by the first start, read "
      "by the next ones, which then need not compute it; one that does not fit is replaced");
}

void read_options(PrefixOptions* o) {
  if (o->system_file.empty()) return;
  if (!o->system.empty()) throw Failure(kUsage, "--system and --system-file: say one of them");
  o->system = read_text(o->system_file);
  if (!o->system.empty() && o->system.back() == '\n') o->system.pop_back();
  if (!o->system.empty() && o->system.back() == '\r') o->system.pop_back();
  if (o->system.empty()) throw Failure(kUsage, o->system_file + ": no text in it");
}

std::vector<uint32_t> tokens_before_messages(OpenPlan& plan, const text::Dialogue& dialogue) {
  const auto encode = [&](const char* message) {
    text::Dialogue begun = dialogue;
    begun.add_user(message);
    std::vector<uint32_t> tokens;
    std::string reason;
    if (!begun.encode(plan.chat_format(), plan.tokenizer(), &tokens, &reason)) {
      throw Failure(kUsage, reason);
    }
    return tokens;
  };
  // Two that have nothing in common, so that only what is in front of them is the same.
  std::vector<uint32_t> tokens = encode("a");
  const std::vector<uint32_t> other = encode("1");
  const auto end = std::mismatch(tokens.begin(), tokens.end(), other.begin(), other.end()).first;
  tokens.erase(end, tokens.end());
  return tokens;
}

PrefixReport keep_prefix(const std::string& path, OpenPlan& plan, Session& session,
                         const std::vector<uint32_t>& tokens) {
  PrefixReport report;
  report.path = path;
  report.tokens = static_cast<uint32_t>(tokens.size());
  const uint32_t context = session.executor().context();
  if (tokens.size() > context) {
    throw Failure(kUsage, "what conversations begin with has " + std::to_string(tokens.size()) +
                              " tokens, the plan's context takes " + std::to_string(context) +
                              "; compile with a larger --context");
  }
  if (tokens.empty()) {
    std::fprintf(stderr, "warning: conversations have no beginning in common: nothing is kept\n");
    return report;
  }
  const uint64_t plan_hash = plan.view().prefix().plan_hash;
  const double start = now_seconds();
  const bool is_there = access(path.c_str(), F_OK) == 0 || errno != ENOENT;
  if (is_there) report.refusal = read_from(&report, plan_hash, session.executor(), tokens);
  report.from_file = is_there && report.refusal.empty();
  if (!report.from_file) compute(session, tokens);
  report.seconds = now_seconds() - start;
  if (!report.from_file) write_to(&report, plan_hash, session.executor(), tokens);
  if (!report.refusal.empty()) std::fprintf(stderr, "warning: %s\n", report.refusal.c_str());
  if (!report.not_written.empty()) {
    std::fprintf(stderr, "warning: %s; every start will compute the prefix\n",
                 report.not_written.c_str());
  }
  std::fprintf(stderr, "%s\n", report.text().c_str());
  return report;
}

std::string PrefixReport::text() const {
  char line[128];
  std::snprintf(line, sizeof line, "prefix: %u tokens %s in %.1f ms", tokens,
                from_file ? "read" : "computed", seconds * 1e3);
  std::string text = line;
  if (from_file) text += " from " + path;
  if (!from_file && file_bytes > 0) text += ", now kept in " + path;
  return text;
}

std::string PrefixReport::json() const {
  nlohmann::ordered_json d = {{"tokens", tokens},
                              {"source", source()},
                              {"file", path},
                              {"file_bytes", file_bytes},
                              {"seconds", seconds}};
  d["refusal"] = refusal.empty() ? nlohmann::json() : nlohmann::json(refusal);
  d["not_written"] = not_written.empty() ? nlohmann::json() : nlohmann::json(not_written);
  return d.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace jllm::tool
