// The server's transport: HTTP/1.1 on a socket, without a word about models. What requests mean is
// the handler's business; cpp-httplib stays behind this header.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace jllm::serve {

struct HttpRequest {
  std::string method, path;
  std::string authorization, origin, host;  // headers; empty where the request has none
  std::string body;
};

// The client's end of a connection.
class HttpPeer {
 public:
  virtual ~HttpPeer() = default;
  virtual bool is_gone() const = 0;  // it closed the connection: nobody reads an answer
};

class HttpWriter : public HttpPeer {
 public:
  virtual bool write(std::string_view bytes) = 0;  // false: the client is gone, or reads no more
};

struct HttpReply {
  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  // Where set, it writes the body piece by piece, and the reply ends when it returns.
  std::function<void(HttpWriter&)> stream;
};

// Called by many threads at once.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // Before the body is read: an answer that needs none of it ("not allowed"), or none.
  virtual std::optional<HttpReply> admit(const HttpRequest& head) = 0;
  virtual HttpReply handle(const HttpRequest& request, const HttpPeer& peer) = 0;
  // The transport's own refusals (413, 400) in the handler's words.
  virtual HttpReply refusal(int status, const HttpRequest& request) = 0;
  // Behind every reply: what it was, for counts and logs.
  virtual void replied(const HttpRequest& request, int status) = 0;
};

struct HttpOptions {
  std::string host = "127.0.0.1";
  int port = 8080;  // 0: any that is free
  uint64_t max_body = 4 << 20, max_header = 32 << 10;
  unsigned connections = 64;  // served at the same time; more wait
  double header_seconds =
      10;                     // for a request's head and body to come in, a second more each 64 KiB
  double idle_seconds = 5;    // that a connection is kept between two requests
  double write_seconds = 30;  // that a client may read nothing of what is written
};

class HttpServer {
 public:
  HttpServer(const HttpOptions& options, HttpHandler* handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // The port; 0: it cannot be had, and *why says why.
  int bind(std::string* why);
  // Serves until stop() is called, by another thread; then waits for the replies under way.
  void run();
  void stop();
  unsigned busy() const;  // requests that are being answered now

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// GET URL/path, URL being http://HOST:PORT: the status and the body; 0 where no reply came, with
// the reason as the body.
int http_get(const std::string& url, const char* path, double seconds, std::string* body);

}  // namespace jllm::serve
