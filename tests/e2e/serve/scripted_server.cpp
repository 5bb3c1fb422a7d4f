// A server whose model says what the command line wants, for what a small model never says by
// itself: calls of tools, control tokens, half characters. Its transport, API and scheduler are
// those of jllm serve.
// usage: scripted_server PLAN SLOTS [--step MICROSECONDS [--wait]] REPLY...   (ends with SIGTERM)
// With --step each step takes so long, and at the end it tells how long the device had no work
// between two; --wait: no step is asked for before the one before is done.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <thread>

#include "tests/tools/serve/timed_engine.h"
#include "tools/jllm/serve/service.h"
#include "tools/jllm/session.h"

using namespace jllm;
using namespace jllm::serve;

int main(int argc, char** argv) {
  double step = 0;
  bool waits = false;
  int first = 3;
  for (; first < argc && argv[first][0] == '-'; ++first) {
    waits |= std::string(argv[first]) == "--wait";
    if (std::string(argv[first]) == "--step" && first + 1 < argc) step = std::atof(argv[++first]);
  }
  if (first >= argc) return 2;
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  tool::PlanPaths paths;
  paths.plan = argv[1];
  tool::OpenPlan plan(paths);
  const text::Tokenizer& tokenizer = plan.tokenizer();
  const uint32_t context = plan.view().plan().model()->context();
  test::TimedEngine engine(static_cast<uint32_t>(std::atoi(argv[2])), context,
                           tokenizer.vocab_size(), step * 1e-6);
  engine.runs_ahead_ = step > 0 && !waits;
  engine.replies.clear();
  for (int i = first; i < argc; ++i)
    engine.replies.push_back(tokenizer.encode(argv[i], {false, true}));

  ServiceOptions options;
  options.model = "scripted";
  options.defaults.tools = plan.chat_format().notation() != text::ToolNotation::kNone;
  const Page page(plan.view().plan());
  options.page = &page;
  Metrics metrics;
  ModelFacts facts;
  facts.model = options.model;
  Monitor monitor(facts, platform::Guard(platform::Sysfs(), {}), tool::now_seconds());
  Scheduler scheduler(
      engine, metrics, [&](double now) { return monitor.care(now, 0); }, 16);
  Service service(options, tokenizer, &plan.chat_format(), context, &scheduler, &metrics, &monitor);
  HttpOptions http;
  http.port = 0;
  HttpServer server(http, &service);
  std::string why;
  const int port = server.bind(&why);
  if (port == 0) return 1;
  std::printf("listening on http://127.0.0.1:%d\n", port);
  std::fflush(stdout);
  std::thread transport([&] { server.run(); });
  timespec limit = {600, 0};  // nobody leaves it behind
  sigtimedwait(&signals, nullptr, &limit);
  scheduler.stop();
  if (step > 0) {
    std::fprintf(stderr, "%llu steps, and %.1f us without work before each\n",
                 static_cast<unsigned long long>(engine.steps()),
                 engine.idle_seconds() * 1e6 / double(engine.steps()));
  }
  server.stop();
  transport.join();
  return 0;
}
