# Embeds JSON files: writes OUT, which defines `llvm::ArrayRef<TYPE> FUNCTION()` of NAMESPACE as
# HEADER declares it. TYPE holds {name, json}: a file's name without its ending, and its text.
function(jllm_embed_json OUT HEADER NAMESPACE TYPE FUNCTION FILES)
  set(ENTRIES "")
  foreach(file ${FILES})
    get_filename_component(name ${file} NAME_WE)
    file(READ ${file} json)
    string(APPEND ENTRIES "    {\"${name}\", R\"json(${json})json\"},\n")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  endforeach()
  file(CONFIGURE OUTPUT ${OUT} @ONLY CONTENT [[
#include "@HEADER@"

namespace @NAMESPACE@ {

llvm::ArrayRef<@TYPE@> @FUNCTION@() {
  static constexpr @TYPE@ kFiles[] = {
@ENTRIES@  };
  return kFiles;
}

}  // namespace @NAMESPACE@
]])
endfunction()
