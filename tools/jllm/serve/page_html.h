// page/index.html as the build has put it into the program.
#pragma once

#include <string_view>

namespace jllm::serve {

extern const std::string_view kPageHtml;

}  // namespace jllm::serve
