// jllm health: whether a server answers, for those who watch it (containers, monitoring).
#include <cstdio>

#include "tools/jllm/arguments.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/serve/http.h"
#include "tools/jllm/session.h"

namespace jllm::tool {

int health_command(int argc, char** argv) {
  std::string url = "http://127.0.0.1:8080";
  double timeout = 5;
  bool quiet = false;
  Arguments arguments(
      "jllm health [--url URL] [--timeout SECONDS] [-q]",
      "Asks a server of `jllm serve` how it is. Exit code 0: it takes requests; 1: it ends, has\n"
      "failed, or does not answer.");
  arguments.text("", "--url", &url, "where the server is (default http://127.0.0.1:8080)");
  arguments.number("", "--timeout", &timeout, 0.001, 1e6, "seconds for its answer (default 5)");
  arguments.flag("-q", "--quiet", &quiet, "the exit code alone");
  if (!arguments.parse(argc, argv)) return kDone;
  std::string body;
  const int status = serve::http_get(url, "/health", timeout, &body);
  if (status == 0) throw Failure(kFailed, url + ": " + body);
  if (!quiet) std::printf("%s\n", body.c_str());
  constexpr int kOk = 200;
  return status == kOk ? kDone : kFailed;
}

}  // namespace jllm::tool
