#include "tools/jllm/serve/http.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>

#define CPPHTTPLIB_USE_POLL
#include <httplib.h>

namespace jllm::serve {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_now() {
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

bool wait_for(int socket, short what, double seconds) {
  pollfd poll_set = {socket, what, 0};
  const double end = seconds_now() + seconds;
  for (;;) {
    const double left = end - seconds_now();
    const int ready = ::poll(&poll_set, 1, left > 0 ? static_cast<int>(left * 1e3) + 1 : 0);
    if (ready > 0) return (poll_set.revents & (what | POLLHUP | POLLERR)) != 0;
    if (ready == 0 || errno != EINTR) return false;
  }
}

bool peer_is_gone(int socket) {
  char byte;
  const ssize_t got = ::recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

// A connection with limits: how many bytes a request's head may have, and by when all of a request
// must be here. Reads ahead, across requests.
class Connection final : public httplib::Stream {
 public:
  Connection(int socket, const HttpOptions& options, std::function<bool()> is_stopping)
      : socket_(socket), options_(options), is_stopping_(std::move(is_stopping)) {}

  // Waits for a request to begin; false where none comes in time.
  bool next_request() {
    if (begin_ == end_ && !wait_unless_stopping(POLLIN, options_.idle_seconds)) return false;
    head_left_ = options_.max_header;
    in_head_ = true;
    read_by_ = seconds_now() + options_.header_seconds;
    return !is_stopping_();
  }
  void head_is_read() { in_head_ = false; }
  bool has_head() const { return !in_head_; }
  void close_behind() { closes_ = true; }
  bool closes() const { return closes_; }
  bool head_was_too_long() const { return head_too_long_; }

  bool is_readable() const override { return begin_ < end_ || wait_for(socket_, POLLIN, 0); }
  bool is_writable() const override {
    return wait_for(socket_, POLLOUT, 0) && !peer_is_gone(socket_);
  }
  ssize_t read(char* to, size_t size) override {
    if (in_head_) {
      if (head_left_ == 0) {
        head_too_long_ = closes_ = true;
        return -1;
      }
      size = std::min<uint64_t>(size, head_left_);
    }
    if (begin_ == end_ && !fill()) return -1;
    const size_t n = std::min(size, end_ - begin_);
    std::memcpy(to, buffer_ + begin_, n);
    begin_ += n;
    if (in_head_) head_left_ -= n;
    return static_cast<ssize_t>(n);
  }
  ssize_t write(const char* from, size_t size) override {
    for (;;) {
      const ssize_t sent = ::send(socket_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent >= 0) return sent;
      if (errno == EINTR) continue;
      if ((errno != EAGAIN && errno != EWOULDBLOCK) ||
          !wait_unless_stopping(POLLOUT, options_.write_seconds)) {
        closes_ = true;
        return -1;
      }
    }
  }
  void get_remote_ip_and_port(std::string& ip, int& port) const override {
    ip.clear();
    port = 0;
  }
  void get_local_ip_and_port(std::string& ip, int& port) const override {
    get_remote_ip_and_port(ip, port);
  }
  socket_t socket() const override { return socket_; }

  // So that the last reply arrives although more of the request was sent than was read: a socket
  // that is closed with something unread in it takes back what it has sent.
  void close() {
    ::shutdown(socket_, SHUT_WR);
    const double end = seconds_now() + kLingerSeconds;
    while (seconds_now() < end && wait_for(socket_, POLLIN, end - seconds_now())) {
      const ssize_t got = ::recv(socket_, buffer_, sizeof buffer_, MSG_DONTWAIT);
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) break;
    }
    ::close(socket_);
  }

 private:
  static constexpr double kLingerSeconds = 1;
  static constexpr double kSecondsPerByte = 1.0 / (64 << 10);

  bool wait_unless_stopping(short what, double seconds) const {
    constexpr double kLookSeconds = 0.2;
    const double end = seconds_now() + seconds;
    do {
      if (wait_for(socket_, what, std::min(kLookSeconds, end - seconds_now()))) return true;
    } while (seconds_now() < end && !is_stopping_());
    return false;
  }
  bool fill() {
    if (!wait_unless_stopping(POLLIN, read_by_ - seconds_now())) {
      closes_ = true;
      return false;
    }
    const ssize_t got = ::recv(socket_, buffer_, sizeof buffer_, 0);
    if (got <= 0) {
      closes_ = true;
      return false;
    }
    begin_ = 0;
    end_ = static_cast<size_t>(got);
    read_by_ += static_cast<double>(got) * kSecondsPerByte;
    return true;
  }

  int socket_;
  const HttpOptions& options_;
  std::function<bool()> is_stopping_;
  char buffer_[16 << 10];
  size_t begin_ = 0, end_ = 0;
  uint64_t head_left_ = 0;
  bool in_head_ = true, closes_ = false, head_too_long_ = false;
  double read_by_ = 0;
};

// The connection that a thread of the server is busy with.
thread_local Connection* current = nullptr;

class SocketPeer : public HttpPeer {
 public:
  explicit SocketPeer(int socket) : socket_(socket) {}
  bool is_gone() const override { return peer_is_gone(socket_); }

 private:
  int socket_;
};

class SinkWriter : public HttpWriter {
 public:
  SinkWriter(int socket, httplib::DataSink* sink) : socket_(socket), sink_(sink) {}
  bool is_gone() const override { return peer_is_gone(socket_); }
  bool write(std::string_view bytes) override {
    return bytes.empty() || sink_->write(bytes.data(), bytes.size());
  }

 private:
  int socket_;
  httplib::DataSink* sink_;
};

HttpRequest request_of(const httplib::Request& from) {
  HttpRequest request;
  request.method = from.method;
  request.path = from.path;
  request.authorization = from.get_header_value("Authorization");
  request.origin = from.get_header_value("Origin");
  request.host = from.get_header_value("Host");
  return request;
}

}  // namespace

class HttpServer::Impl : public httplib::Server {
 public:
  Impl(const HttpOptions& options, HttpHandler* handler) : options_(options), handler_(handler) {
    new_task_queue = [this] { return new httplib::ThreadPool(options_.connections); };
    set_payload_max_length(options.max_body);
    set_tcp_nodelay(true);
    // The library's own choice would let two servers share a port.
    set_socket_options([](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    set_keep_alive_max_count(kRequestsPerConnection);
    set_pre_routing_handler([this](const httplib::Request& from, httplib::Response& to) {
      return before_body(from, to);
    });
    Post(".*", [this](const httplib::Request& from, httplib::Response& to,
                      const httplib::ContentReader& reader) { post(from, to, reader); });
    // What neither of the two has answered: heads that are no HTTP, bodies that stop in the middle.
    set_error_handler([this](const httplib::Request& from, httplib::Response& to) {
      if (answered_) return;
      if (current->head_was_too_long()) to.status = 431;
      const HttpRequest request = request_of(from);
      answer(request, handler_->refusal(to.status, request), to);
      close_behind(to);
    });
  }

  int bind(std::string* why) {
    errno = 0;
    const int port = options_.port == 0
                         ? bind_to_any_port(options_.host)
                         : (bind_to_port(options_.host, options_.port) ? options_.port : -1);
    if (port > 0) return port;
    *why = "cannot listen on " + options_.host + " port " + std::to_string(options_.port) +
           (errno != 0 ? std::string(": ") + std::strerror(errno) : "");
    return 0;
  }

  unsigned busy() const { return busy_; }

 private:
  static constexpr size_t kRequestsPerConnection = 1000;

  HandlerResponse before_body(const httplib::Request& from, httplib::Response& to) {
    current->head_is_read();
    ++busy_;
    const HttpRequest request = request_of(from);
    if (std::optional<HttpReply> reply = handler_->admit(request)) {
      answer(request, *reply, to);
    } else if (from.method != "POST") {
      answer(request, handler_->handle(request, SocketPeer(current->socket())), to);
    } else {
      return HandlerResponse::Unhandled;
    }
    // A body that nobody has read must not be taken for the next request.
    if (from.has_header("Content-Length") || from.has_header("Transfer-Encoding")) close_behind(to);
    return HandlerResponse::Handled;
  }

  void post(const httplib::Request& from, httplib::Response& to,
            const httplib::ContentReader& reader) {
    HttpRequest request = request_of(from);
    bool too_long = false;
    const bool whole = reader([&](const char* bytes, size_t size) {
      too_long = size > options_.max_body - request.body.size();
      if (!too_long) request.body.append(bytes, size);
      return !too_long;
    });
    if (whole) {
      answer(request, handler_->handle(request, SocketPeer(current->socket())), to);
      return;
    }
    const int status = too_long || to.status == 413 ? 413 : 400;
    answer(request, handler_->refusal(status, request), to);
    close_behind(to);
  }

  void close_behind(httplib::Response& to) {
    current->close_behind();
    to.set_header("Connection", "close");
  }

  void answer(const HttpRequest& request, const HttpReply& reply, httplib::Response& to) {
    answered_ = true;
    to.status = reply.status;
    for (const auto& [name, value] : reply.headers) to.set_header(name, value);
    if (reply.stream) {
      to.set_chunked_content_provider(
          reply.type,
          [stream = reply.stream, socket = current->socket()](size_t, httplib::DataSink& sink) {
            SinkWriter writer(socket, &sink);
            stream(writer);
            sink.done();
            return true;
          });
    } else {
      to.set_content(reply.body, reply.type);
    }
    handler_->replied(request, reply.status);
  }

  bool process_and_close_socket(socket_t socket) override {
    Connection connection(socket, options_, [this] { return svr_sock_ == INVALID_SOCKET; });
    current = &connection;
    bool good = true;
    for (size_t left = kRequestsPerConnection; good && left > 0 && connection.next_request();
         --left) {
      bool closed = false;
      answered_ = false;
      good = process_request(connection, left == 1, closed, nullptr) && !closed &&
             !connection.closes();
      if (connection.has_head()) --busy_;
    }
    current = nullptr;
    connection.close();
    return good;
  }

  static thread_local bool answered_;
  const HttpOptions options_;
  HttpHandler* handler_;
  std::atomic<unsigned> busy_{0};
};

thread_local bool HttpServer::Impl::answered_ = false;

HttpServer::HttpServer(const HttpOptions& options, HttpHandler* handler)
    : impl_(new Impl(options, handler)) {}
HttpServer::~HttpServer() = default;
int HttpServer::bind(std::string* why) { return impl_->bind(why); }
void HttpServer::run() { impl_->listen_after_bind(); }
void HttpServer::stop() { impl_->stop(); }
unsigned HttpServer::busy() const { return impl_->busy(); }

int http_get(const std::string& url, const char* path, double seconds, std::string* body) {
  httplib::Client client(url);
  if (!client.is_valid()) {
    *body = "expected an address such as http://127.0.0.1:8080";
    return 0;
  }
  const auto time = std::chrono::microseconds(static_cast<int64_t>(seconds * 1e6));
  client.set_connection_timeout(time);
  client.set_read_timeout(time);
  client.set_write_timeout(time);
  const httplib::Result result = client.Get(path);
  if (!result) {
    *body = httplib::to_string(result.error());
    return 0;
  }
  *body = result->body;
  return result->status;
}

}  // namespace jllm::serve
