# Encoding and decoding GGUF's blocks: without LLVM, so that the device side's tests have them too.
# Decoding is bit-exact on every machine only if no multiply and add are contracted. Without
# trapping math the compiler may turn clamps into vector instructions; values stay the same.
set(JLLM_EXACT_DECODING -ffp-contract=off -fno-trapping-math)
add_library(jllm_quants STATIC)
foreach(source quants quants_k quants_table quants_ternary type_table)
  target_sources(jllm_quants PRIVATE ${PROJECT_SOURCE_DIR}/compiler/gguf/${source}.cpp)
endforeach()
target_include_directories(jllm_quants PUBLIC ${PROJECT_SOURCE_DIR})
target_compile_features(jllm_quants PUBLIC cxx_std_20)
target_compile_options(jllm_quants PRIVATE ${JLLM_EXACT_DECODING})
target_link_libraries(jllm_quants PRIVATE jllm_flags)
