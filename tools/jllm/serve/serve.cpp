// jllm serve: a model behind OpenAI's HTTP API.
#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <thread>

#include "tools/jllm/arguments.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/generation.h"
#include "tools/jllm/prefix_cache.h"
#include "tools/jllm/serve/executor_engine.h"
#include "tools/jllm/serve/notify.h"
#include "tools/jllm/serve/service.h"

namespace jllm::tool {
namespace {

using serve::HttpOptions;
using serve::HttpServer;
using serve::Metrics;
using serve::ModelFacts;
using serve::Monitor;
using serve::Notify;
using serve::Scheduler;
using serve::Service;
using serve::ServiceOptions;

struct ServeOptions {
  PlanPaths plan;
  HttpOptions http;
  ServiceOptions service;
  PrefixOptions prefix;
  GenerationOptions generation;
  DeviceOptions device;
  CareOptions care;
  uint64_t port = 8080, queue = 16;
  std::string key_file, max_body = "4M";
  double drain_timeout = 30;
  bool no_page = false;
};

constexpr const char* kSummary =
    "Serves the model over HTTP with OpenAI's API, on this machine only unless --host says more.\n"
    "\n"
    "  POST /v1/chat/completions  POST /v1/completions   whole, or with \"stream\": true\n"
    "  POST /v1/embeddings        in their place, of plans of jllmc compile --embedding last\n"
    "  GET  /v1/models            POST /tokenize  POST /detokenize\n"
    "  GET  /health               GET  /metrics (Prometheus)\n"
    "  GET  /  a page to chat on, for browsers\n"
    "\n"
    "  jllm serve model.jllm --port 8080 &\n"
    "  curl http://127.0.0.1:8080/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\", "
    "\"content\": \"Hello\"}]}'\n"
    "\n"
    "Requests that find no free slot wait in a queue; one that finds it full gets 429 and when to\n"
    "try again. SIGTERM and SIGINT end the server when what runs is done; a second one ends it at\n"
    "once. docs/server.md has the whole of it, docs/operation.md how to run it as a service. What "
    "a\n"
    "request does not say, these options do:";

bool parse(int argc, char** argv, ServeOptions* o) {
  Arguments a("jllm serve PLAN.jllm [--host ADDRESS] [--port N] [--api-key-file FILE] [options]",
              kSummary);
  add_plan(&a, &o->plan);
  a.text("", "--host", &o->http.host,
         "address to listen on; 0.0.0.0 is every one of this machine (default 127.0.0.1)");
  a.integer("", "--port", &o->port, 65535, "port; 0 takes a free one and prints it (default 8080)");
  a.text("", "--model-id", &o->service.model, "the model's name in the API (default: the plan's)");
  a.text("", "--api-key", &o->service.api_key,
         "requests must bring this key; others see it in the list of processes, so rather set "
         "JLLM_API_KEY in the environment, or");
  a.text("", "--api-key-file", &o->key_file, "the same, from the first line of a file");
  a.text("", "--cors-origin", &o->service.cors_origin,
         "let scripts of this web page's origin read replies, as https://example.org; * is any "
         "(default: none)");
  a.flag("", "--no-page", &o->no_page, "nothing at /, where else is a page to chat on");
  a.integer("", "--queue", &o->queue, 100000,
            "requests that may wait for a free slot; more get 429 (default 16)");
  a.number("", "--timeout", &o->service.timeout, 0.001, 1e6,
           "seconds for a request, its time in the queue included (default 600)");
  a.number("", "--drain-timeout", &o->drain_timeout, 0, 1e6,
           "seconds that requests under way get when the server is told to end (default 30)");
  a.text("", "--max-body", &o->max_body, "longest request, as 512K or 4M (default 4M)");
  add_options(&a, &o->prefix, "conversations that bring none");
  add_options(&a, &o->generation);
  a.flag("-v", "--verbose", &o->service.verbose, "a line on standard error for each request");
  add_options(&a, &o->device);
  add_options(&a, &o->care);
  if (!a.parse(argc, argv)) return false;
  read_options(&o->generation);
  read_options(&o->prefix);
  const std::optional<uint64_t> max_body = platform::parse_size(o->max_body);
  if (!max_body || *max_body == 0) {
    throw Failure(kUsage, "--max-body " + o->max_body + ": expected a size such as 512K or 4M");
  }
  o->http.max_body = *max_body;
  o->http.port = static_cast<int>(o->port);
  if (!o->key_file.empty()) {
    const std::string text = read_text(o->key_file);
    o->service.api_key = text.substr(0, text.find_first_of("\r\n"));
    if (o->service.api_key.empty()) throw Failure(kUsage, o->key_file + ": no key in it");
  }
  const char* key = std::getenv("JLLM_API_KEY");
  if (key != nullptr && o->service.api_key.empty()) o->service.api_key = key;
  return true;
}

// What the plan is, in one word: replies of the same word are of the same weights and kernels.
std::string fingerprint_of(const PlanView& view) {
  char text[40];
  std::snprintf(text, sizeof text, "jllm_%016llx",
                static_cast<unsigned long long>(view.prefix().plan_hash));
  return text;
}

// With --prefix-cache, puts into every slot what conversations begin with that bring neither a
// system text of their own nor tools, and returns it. A text that the format refuses is refused
// now, and not with each request.
std::vector<uint32_t> begin_slots(const PrefixOptions& o, OpenPlan& plan, Session& session,
                                  PrefixReport* report) {
  if (o.system.empty() && o.cache.empty()) return {};
  text::Dialogue dialogue;
  dialogue.system = o.system;
  std::vector<uint32_t> tokens = tokens_before_messages(plan, dialogue);
  if (o.cache.empty()) return {};
  *report = keep_prefix(o.cache, plan, session, tokens);
  Executor& executor = session.executor();
  for (uint32_t slot = 1; slot < executor.slots(); ++slot) {
    session.check(executor.select(slot));
    session.check(executor.copy_prefix(0, report->tokens));
  }
  session.check(executor.select(0));
  return tokens;
}

ModelFacts facts_of(OpenPlan& plan, Session& session, const std::string& id,
                    const PrefixReport& prefix) {
  const fb::Model& model = *plan.view().plan().model();
  ModelFacts facts;
  facts.model = id;
  facts.plan = plan.path();
  facts.architecture = model.architecture()->str();
  facts.device = session.executor().device_name();
  facts.context = model.context();
  facts.vocab_size = model.vocab_size();
  facts.memory = session.executor().memory_use();
  facts.load_seconds = session.load_seconds();
  facts.prefix = prefix;
  return facts;
}

sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

// Waits for one of the signals that end the server, at most so long; 0: none came.
int wait_for_signal(double seconds) {
  const sigset_t set = ending_signals();
  timespec time = {};
  time.tv_sec = static_cast<time_t>(seconds);
  time.tv_nsec = static_cast<long>((seconds - double(time.tv_sec)) * 1e9);
  return std::max(0, sigtimedwait(&set, nullptr, &time));
}

// Until a signal comes or the device fails; then until the requests under way are done.
void serve_until_told(Scheduler& scheduler, const HttpServer& server, const Notify& notify,
                      double drain_timeout) {
  constexpr double kLookSeconds = 0.05;
  while (wait_for_signal(kLookSeconds) == 0) {
    if (scheduler.state().failed) return;
  }
  scheduler.drain();
  notify.stopping();
  std::fprintf(stderr, "ending when the requests under way are done; again: at once\n");
  const double end = now_seconds() + drain_timeout;
  while (now_seconds() < end && wait_for_signal(kLookSeconds) == 0) {
    const Scheduler::State state = scheduler.state();
    if (state.failed || state.busy + state.queued + server.busy() == 0) return;
  }
}

int run_server(ServeOptions& o, OpenPlan& plan, Session& session) {
  const text::ChatFormat* format = nullptr;
  if (plan.view().find_segment(fb::SegmentKind::ChatFormat) != nullptr) {
    format = &plan.chat_format();
    o.service.defaults.tools = format->notation() != text::ToolNotation::kNone;
    o.service.defaults.no_tools_because = format->tools_refusal();
  }
  if (o.service.model.empty()) o.service.model = plan.view().plan().model()->name()->str();
  o.service.fingerprint = fingerprint_of(plan.view());
  o.service.host = o.http.host;
  o.service.defaults.sampling = sampling_of(o.generation);
  if (!o.generation.seed_text.empty()) o.service.seed = o.generation.seed;
  o.service.defaults.max_tokens = static_cast<uint32_t>(o.generation.max_tokens);
  o.service.defaults.system = o.prefix.system;

  PrefixReport report;
  const std::vector<uint32_t> prefix = begin_slots(o.prefix, plan, session, &report);

  Metrics metrics;
  Monitor monitor(facts_of(plan, session, o.service.model, report), make_guard(o.care),
                  now_seconds());
  serve::ExecutorEngine engine(session, plan.view(), o.generation.speculate);
  Notify notify;
  const Scheduler::Beat beat = [&notify](double now) { notify.beat(now); };
  Scheduler scheduler(
      engine, metrics,
      [&](double now) { return monitor.care(now, metrics.generated_tokens.load()); },
      static_cast<uint32_t>(o.queue), notify.beat_seconds() > 0 ? beat : nullptr, prefix);
  const serve::Page page(plan.view().plan());
  o.service.embedding_length = engine.embedding_length();
  // There is nothing to chat with where there is no text.
  if (!o.no_page && engine.embedding_length() == 0) o.service.page = &page;
  Service service(o.service, plan.tokenizer(), format, session.executor().context(), &scheduler,
                  &metrics, &monitor);
  // One thread for each request that may wait or run, and some for those that are answered at once.
  constexpr unsigned kQuick = 8, kMost = 512;
  o.http.connections =
      static_cast<unsigned>(std::min<uint64_t>(o.queue + engine.slots() + kQuick, kMost));
  HttpServer server(o.http, &service);
  std::string why;
  const int port = server.bind(&why);
  if (port == 0) throw Failure(kFailed, why);
  std::printf("listening on http://%s:%d (%s on %s, %u slot%s)\n", o.http.host.c_str(), port,
              o.service.model.c_str(), session.executor().device_name(), engine.slots(),
              engine.slots() == 1 ? "" : "s");
  std::fflush(stdout);

  std::thread transport([&server] { server.run(); });
  notify.ready("listening on http://" + o.http.host + ":" + std::to_string(port));
  serve_until_told(scheduler, server, notify, o.drain_timeout);
  scheduler.stop();
  // What was ended just now is still to be said.
  constexpr double kLastWords = 1;
  const double end = now_seconds() + kLastWords;
  while (server.busy() > 0 && now_seconds() < end) wait_for_signal(0.01);
  server.stop();
  transport.join();
  const Scheduler::State state = scheduler.state();
  if (state.failed) throw Failure(kDevice, state.failure);
  return kDone;
}

}  // namespace

int serve_command(int argc, char** argv) {
  ServeOptions options;
  if (!parse(argc, argv, &options)) return kDone;
  // Before the first thread: all inherit it, and the main thread takes the signals.
  const sigset_t set = ending_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  OpenPlan plan(options.plan);
  plan.tokenizer();
  const platform::Guard guard = make_guard(options.care);
  require_room(guard, options.care, plan);
  Session session(plan, executor_options(options.device));
  return run_server(options, plan, session);
}

}  // namespace jllm::tool
