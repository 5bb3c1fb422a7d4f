// jllm eval: feeds given tokens one by one, measures how well the model predicts each, and can
// write all logits.
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tools/jllm/arguments.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/session.h"

namespace jllm::tool {
namespace {

std::vector<uint32_t> parse_tokens(std::string text) {
  for (char& c : text) {
    if (c == ',' || c == '[' || c == ']') c = ' ';
  }
  std::istringstream stream(text);
  std::vector<uint32_t> tokens;
  for (std::string word; stream >> word;) {
    size_t used = 0;
    unsigned long value = 0;
    try {
      value = std::stoul(word, &used);
    } catch (const std::exception&) {
      used = 0;
    }
    if (used != word.size() || value > UINT32_MAX) {
      throw Failure(kUsage, "--tokens: '" + word + "' is not a token id");
    }
    tokens.push_back(static_cast<uint32_t>(value));
  }
  return tokens;
}

// log of the sum of exp(logits).
double log_sum(const std::vector<float>& logits) {
  const float max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float l : logits) sum += std::exp(double(l) - max);
  return std::log(sum) + max;
}

struct FileCloser {
  void operator()(FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<FILE, FileCloser>;

// How far one row of logits is from a reference's: Kullback-Leibler divergence of the reference
// distribution from ours, in nats, and whether both put the same token first.
class Comparison {
 public:
  void add(const std::vector<float>& reference, const std::vector<float>& logits) {
    const double ours = log_sum(logits);
    const double theirs = log_sum(reference);
    double kl = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      const double log_p = reference[i] - theirs;
      kl += std::exp(log_p) * (log_p - (logits[i] - ours));
      max_difference_ =
          std::max(max_difference_, std::fabs(double(logits[i]) - double(reference[i])));
    }
    const auto top = [](const std::vector<float>& v) {
      return std::max_element(v.begin(), v.end()) - v.begin();
    };
    agreed_ += top(reference) == top(logits) ? 1 : 0;
    sum_ += kl;
    max_ = std::max(max_, kl);
    ++rows_;
  }
  size_t rows() const { return rows_; }
  double mean_kl() const { return rows_ > 0 ? sum_ / double(rows_) : 0; }
  double max_kl() const { return max_; }
  double top1() const { return rows_ > 0 ? double(agreed_) / double(rows_) : 0; }
  double max_difference() const { return max_difference_; }

 private:
  size_t rows_ = 0, agreed_ = 0;
  double sum_ = 0, max_ = 0, max_difference_ = 0;
};

struct EvalOptions {
  PlanPaths plan;
  std::string token_file, text_file, logits_path, reference_path;
  uint64_t threads = 0, prefill = 0, limit = UINT32_MAX;
  bool as_json = false, newer_device = false;
};

struct EvalResult {
  size_t tokens = 0, predicted = 0;
  double nats = 0, seconds = 0;
  Comparison comparison;

  double perplexity() const { return predicted > 0 ? std::exp(nats / double(predicted)) : 0; }
};

bool parse(int argc, char** argv, EvalOptions* o) {
  Arguments a(
      "jllm eval PLAN.jllm (--tokens FILE | -f TEXT) [--logits OUT.f32] [--reference REF.f32]",
      "Perplexity of a text under the model: exp of the mean surprise of every token but the "
      "first.");
  add_plan(&a, &o->plan);
  a.text("", "--tokens", &o->token_file, "token ids, separated by spaces, commas or lines");
  a.text("-f", "--file", &o->text_file, "text to tokenize (- for standard input)");
  a.integer("-n", "--limit", &o->limit, UINT32_MAX, "use the first N tokens only");
  a.text("", "--logits", &o->logits_path, "write raw logits: one row of f32 per token");
  a.text("", "--reference", &o->reference_path,
         "compare with such a file: KL divergence and top-1 agreement");
  a.integer("", "--prefill", &o->prefill, UINT32_MAX,
            "run the first N tokens as a prompt, in chunks; their rows but the last are left out");
  a.integer("", "--threads", &o->threads, 64, "host plans: worker threads (default: one per CPU)");
  a.flag("", "--newer-device", &o->newer_device,
         "run a plan made with --emit-ptx on a newer device (tests)");
  a.flag("", "--json", &o->as_json, "print one JSON document");
  if (!a.parse(argc, argv)) return false;
  if (o->token_file.empty() == o->text_file.empty()) {
    throw Failure(kUsage, "give either --tokens FILE or -f TEXT");
  }
  return true;
}

File open_file(const std::string& path, const char* mode) {
  if (path.empty()) return nullptr;
  File file(std::fopen(path.c_str(), mode));
  if (!file) throw Failure(kFailed, path + ": " + std::strerror(errno));
  return file;
}

EvalResult evaluate(const EvalOptions& o, Session& session, const std::vector<uint32_t>& tokens) {
  Executor& executor = session.executor();
  const size_t vocab = executor.vocab_size();
  const File out = open_file(o.logits_path, "wb");
  const File reference = open_file(o.reference_path, "rb");
  const size_t first = o.prefill > 0 ? std::min<size_t>(o.prefill, tokens.size()) - 1 : 0;
  if (reference &&
      std::fseek(reference.get(), long(first * vocab * sizeof(float)), SEEK_SET) != 0) {
    throw Failure(kFailed, o.reference_path + ": too short");
  }
  EvalResult result;
  result.tokens = tokens.size();
  std::vector<float> logits(vocab), expected(vocab);
  const double start = now_seconds();
  for (size_t i = first; i < tokens.size(); ++i) {
    if (i == first && o.prefill > 0) {
      session.check(executor.prefill(tokens.data(), static_cast<uint32_t>(first + 1)));
      session.check(executor.enqueue());
      session.check(executor.next().error());
      session.check(executor.read_logits(logits.data()));
      session.check(executor.rewind(static_cast<uint32_t>(first + 1)));
    } else {
      session.check(executor.force(tokens[i]));
      session.check(executor.read_logits(logits.data()));
    }
    if (i + 1 < tokens.size() && tokens[i + 1] < vocab) {
      result.nats += log_sum(logits) - double(logits[tokens[i + 1]]);
      ++result.predicted;
    }
    if (out && std::fwrite(logits.data(), sizeof(float), vocab, out.get()) != vocab) {
      throw Failure(kFailed, o.logits_path + ": cannot be written");
    }
    if (reference) {
      if (std::fread(expected.data(), sizeof(float), vocab, reference.get()) != vocab) {
        throw Failure(kInvalidFile, o.reference_path + ": has no row " + std::to_string(i) +
                                        " of " + std::to_string(vocab) + " values");
      }
      result.comparison.add(expected, logits);
    }
  }
  result.seconds = now_seconds() - start;
  return result;
}

void print_text(const EvalResult& r) {
  if (r.predicted > 0)
    std::printf("perplexity %.4f over %zu tokens\n", r.perplexity(), r.predicted);
  if (r.comparison.rows() > 0) {
    std::printf(
        "against the reference: KL mean %.3g, max %.3g nats; top-1 agreement %.2f %%; logits "
        "differ "
        "by at most %.3g; %zu positions\n",
        r.comparison.mean_kl(), r.comparison.max_kl(), 100 * r.comparison.top1(),
        r.comparison.max_difference(), r.comparison.rows());
  }
  std::fprintf(stderr, "%zu tokens in %.2f s\n", r.tokens, r.seconds);
}

void print_json(const EvalResult& r) {
  nlohmann::ordered_json d;
  d["tokens"] = r.tokens;
  if (r.predicted > 0) d["perplexity"] = r.perplexity();
  if (r.predicted > 0) d["nats_per_token"] = r.nats / double(r.predicted);
  if (r.comparison.rows() > 0) {
    d["kl_mean"] = r.comparison.mean_kl();
    d["kl_max"] = r.comparison.max_kl();
    d["top1_agreement"] = r.comparison.top1();
    d["max_logit_difference"] = r.comparison.max_difference();
    d["compared_positions"] = r.comparison.rows();
  }
  d["seconds"] = r.seconds;
  std::printf("%s\n", d.dump(2).c_str());
}

}  // namespace

int eval_command(int argc, char** argv) {
  EvalOptions options;
  if (!parse(argc, argv, &options)) return kDone;
  OpenPlan plan(options.plan);
  plan.require_text();
  std::vector<uint32_t> tokens =
      options.token_file.empty()
          ? plan.tokenizer().encode(read_text(options.text_file), {true, true})
          : parse_tokens(read_text(options.token_file));
  if (tokens.size() > options.limit) tokens.resize(options.limit);
  if (tokens.empty()) throw Failure(kUsage, "there are no tokens to evaluate");
  ExecutorOptions executor_options;
  executor_options.threads = static_cast<unsigned>(options.threads);
  executor_options.newer_device = options.newer_device;
  Session session(plan, executor_options);
  const EvalResult result = evaluate(options, session, tokens);
  if (options.as_json) {
    print_json(result);
  } else {
    print_text(result);
  }
  return kDone;
}

}  // namespace jllm::tool
