// jllm eval: feeds given tokens one by one, measures how well the model predicts each, and can write all
// logits.
#include <cmath>
#include <cstdio>
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

// -log softmax(logits)[token], in nats.
double surprise(const std::vector<float>& logits, uint32_t token) {
  float max = logits[0];
  for (const float l : logits) max = std::max(max, l);
  double sum = 0;
  for (const float l : logits) sum += std::exp(double(l) - max);
  return std::log(sum) + max - double(logits[token]);
}

struct FileCloser {
  void operator()(FILE* file) const { std::fclose(file); }
};

}  // namespace

int eval_command(int argc, char** argv) {
  std::string path, token_file, text_file, logits_path;
  uint64_t threads = 0;
  bool as_json = false;
  Arguments arguments("jllm eval PLAN.jllm (--tokens FILE | -f TEXT) [--logits OUT.f32]",
                      "Perplexity of a text under the model: exp of the mean surprise of every token but "
                      "the first.");
  arguments.positional("PLAN.jllm", &path);
  arguments.text("", "--tokens", &token_file, "token ids, separated by spaces, commas or lines");
  arguments.text("-f", "--file", &text_file, "text to tokenize (- for standard input)");
  arguments.text("", "--logits", &logits_path, "write raw logits: one row of f32 per token");
  arguments.integer("", "--threads", &threads, 64, "host plans: worker threads (default: one per CPU)");
  arguments.flag("", "--json", &as_json, "print one JSON document");
  if (!arguments.parse(argc, argv)) return kDone;
  if (token_file.empty() == text_file.empty()) {
    throw Failure(kUsage, "give either --tokens FILE or -f TEXT");
  }
  OpenPlan plan(path);
  const std::vector<uint32_t> tokens = token_file.empty()
                                           ? plan.tokenizer().encode(read_text(text_file), {true, true})
                                           : parse_tokens(read_text(token_file));
  if (tokens.empty()) throw Failure(kUsage, "there are no tokens to evaluate");
  std::unique_ptr<FILE, FileCloser> out;
  if (!logits_path.empty()) {
    out.reset(std::fopen(logits_path.c_str(), "wb"));
    if (!out) throw Failure(kFailed, logits_path + ": cannot be written");
  }
  ExecutorOptions options;
  options.threads = static_cast<unsigned>(threads);
  Session session(plan, options);
  Executor& executor = session.executor();
  std::vector<float> logits(executor.vocab_size());
  double nats = 0;
  const double start = now_seconds();
  for (size_t i = 0; i < tokens.size(); ++i) {
    session.check(executor.force(tokens[i]));
    session.check(executor.read_logits(logits.data()));
    if (i + 1 < tokens.size() && tokens[i + 1] < logits.size()) nats += surprise(logits, tokens[i + 1]);
    if (out && std::fwrite(logits.data(), sizeof(float), logits.size(), out.get()) != logits.size()) {
      throw Failure(kFailed, logits_path + ": cannot be written");
    }
  }
  const double seconds = now_seconds() - start;
  const size_t predicted = tokens.size() - 1;
  const double perplexity = predicted > 0 ? std::exp(nats / double(predicted)) : 0;
  if (as_json) {
    nlohmann::ordered_json document;
    document["tokens"] = tokens.size();
    if (predicted > 0) document["perplexity"] = perplexity;
    document["nats_per_token"] = predicted > 0 ? nats / double(predicted) : 0;
    document["seconds"] = seconds;
    std::printf("%s\n", document.dump(2).c_str());
  } else {
    if (predicted > 0) std::printf("perplexity %.4f over %zu tokens\n", perplexity, predicted);
    std::fprintf(stderr, "%zu tokens in %.2f s\n", tokens.size(), seconds);
  }
  return kDone;
}

}  // namespace jllm::tool
