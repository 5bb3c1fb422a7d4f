#include "tools/jllm/serve/page.h"

#include "schema/sha256.h"
#include "tools/jllm/serve/base64.h"
#include "tools/jllm/serve/page_html.h"

namespace jllm::serve {
namespace {

// 'sha256-...' of what is between <tag> and </tag>, as browsers compute it.
std::string hash_source(std::string_view html, const std::string& tag) {
  const std::string opening = "<" + tag + ">";
  const size_t begin = html.find(opening) + opening.size();
  const std::string_view text = html.substr(begin, html.find("</" + tag + ">", begin) - begin);
  Sha256 hash;
  hash.update(text.data(), text.size());
  uint8_t digest[Sha256::kDigestBytes];
  hash.finish(digest);
  return "'sha256-" + base64(digest, sizeof digest) + "'";
}

}  // namespace

std::string content_policy(std::string_view html) {
  return "default-src 'none'; script-src " + hash_source(html, "script") + "; style-src " +
         hash_source(html, "style") +
         "; img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
         "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
}

Page::Page(const fb::Plan& plan) : plan_(plan), policy_(content_policy(kPageHtml)) {}

bool Page::is_for_everyone(const HttpRequest& head) {
  return head.path == "/" && (head.method == "GET" || head.method == "HEAD");
}

std::optional<HttpReply> Page::answer(const std::string& path) const {
  HttpReply reply;
  reply.headers = {{"X-Content-Type-Options", "nosniff"},
                   {"Referrer-Policy", "no-referrer"},
                   {"Cache-Control", "no-cache"}};
  if (path == "/") {
    reply.type = "text/html; charset=utf-8";
    reply.body = kPageHtml;
    reply.headers.emplace_back("Content-Security-Policy", policy_);
    return reply;
  }
  if (path == "/plan.svg") {
    reply.type = "image/svg+xml";
    reply.body = draw_plan(plan_);
    // Opened by itself it has its own style, and nothing else.
    reply.headers.emplace_back("Content-Security-Policy",
                               "default-src 'none'; style-src 'unsafe-inline'; sandbox");
    return reply;
  }
  return std::nullopt;
}

}  // namespace jllm::serve
