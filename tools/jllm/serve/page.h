// The page at `/`: page/index.html, which is in the program, with a policy under which a browser
// runs what is in that file and loads from this server alone; and the picture at `/plan.svg`.
#pragma once

#include <optional>
#include <string>

#include "schema/plan_picture.h"
#include "tools/jllm/serve/http.h"

namespace jllm::serve {

class Page {
 public:
  // The plan's tables must outlive it.
  explicit Page(const fb::Plan& plan);

  // Asked for without an API key too: it holds nothing of the model and asks for the key itself.
  static bool is_for_everyone(const HttpRequest& head);
  // None: the path is none of its own.
  std::optional<HttpReply> answer(const std::string& path) const;

 private:
  const fb::Plan& plan_;
  const std::string policy_;
};

// The Content-Security-Policy of a page whose one <script> and one <style> are in it.
std::string content_policy(std::string_view html);

}  // namespace jllm::serve
