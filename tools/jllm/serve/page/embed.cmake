# Writes OUT, a C++ file that holds the page as tools/jllm/serve/page_html.h declares it.
function(jllm_embed_page OUT)
  set(file ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/index.html)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} HTML)
  file(CONFIGURE OUTPUT ${OUT} @ONLY CONTENT [[
#include "tools/jllm/serve/page_html.h"

namespace jllm::serve {

const std::string_view kPageHtml = R"page(@HTML@)page";

}  // namespace jllm::serve
]])
endfunction()
