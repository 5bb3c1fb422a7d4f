# The libraries that programs outside of this project link: libjllm_executor, libjllm_text.
#
# The shared one is made small, for a device's image: compiled for size, without unwind tables
# (nothing may be thrown through it) or the C++ runtime, and on x86-64 for one instruction set. The
# static one is what jllm itself links: it picks the best instruction set and is optimised for speed,
# at some 700 KB.

set(SMALL_OPTIONS -Os -fno-exceptions -fno-rtti -fno-asynchronous-unwind-tables -fno-unwind-tables
                  -fvisibility=hidden -fvisibility-inlines-hidden -ffunction-sections -fdata-sections)
set(SCHEMA ${PROJECT_SOURCE_DIR}/schema)
set(SMALL_cuda src/cuda/cuda_backend.cpp src/cuda/driver_api.cpp)
set(SMALL_host src/host/host_backend.cpp)
foreach(source ${JLLM_HOST_SOURCES})
  list(APPEND SMALL_host src/host/${source})
endforeach()

# jllm_small(NAME SOURCES... OPTIONS...): objects of the small library.
function(jllm_small name)
  cmake_parse_arguments(ARG "" "" "SOURCES;OPTIONS;DEFINITIONS" ${ARGN})
  add_library(${name} OBJECT)
  target_sources(${name} PRIVATE ${ARG_SOURCES})
  add_dependencies(${name} jllm_schema_headers)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/executor/include)
  target_include_directories(${name} SYSTEM PRIVATE ${CMAKE_BINARY_DIR}/generated ${FLATBUFFERS_INCLUDE_DIR})
  target_link_libraries(${name} PRIVATE jllm_flags)
  target_compile_options(${name} PRIVATE ${SMALL_OPTIONS} ${ARG_OPTIONS})
  target_compile_definitions(${name} PRIVATE ${ARG_DEFINITIONS})
endfunction()

jllm_small(jllm_small_core SOURCES ${JLLM_CORE_SOURCES} ${SCHEMA}/plan_view.cpp
           ${SCHEMA}/validate.cpp ${SCHEMA}/result.cpp ${SCHEMA}/token_pieces.cpp)
jllm_small(jllm_small_cuda SOURCES ${SMALL_cuda})
set(HOST_OBJECTS)
if("host" IN_LIST JLLM_BACKENDS)
  set(isas portable dotprod)
  set(definitions)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set(JLLM_LIBRARY_ISA avx2 CACHE STRING "Instruction set of libjllm_executor.so: avx2 or portable")
    set(isas ${JLLM_LIBRARY_ISA})
    set(definitions JLLM_HOST_ONLY=${isas})
    if(isas STREQUAL avx2)
      list(APPEND definitions JLLM_HOST_NEEDS_AVX2)
    endif()
  endif()
  jllm_small(jllm_small_host SOURCES ${SMALL_host} DEFINITIONS ${definitions})
  set(HOST_OBJECTS $<TARGET_OBJECTS:jllm_small_host>)
  foreach(set ${JLLM_HOST_SETS})
    string(REPLACE "|" ";" set "${set}")
    list(POP_FRONT set source isa)
    if(isa IN_LIST isas)
      jllm_small(jllm_small_${source}_${isa} SOURCES src/host/isa/${source}.cpp OPTIONS ${set}
                 DEFINITIONS JLLM_HOST_ISA=${isa})
      list(APPEND HOST_OBJECTS $<TARGET_OBJECTS:jllm_small_${source}_${isa}>)
    endif()
  endforeach()
endif()

# jllm_small_library(NAME backend...): a shared library with these backends.
function(jllm_small_library name)
  jllm_small(${name}_backends)
  jllm_backends(${name}_backends ${ARGN})
  set(objects $<TARGET_OBJECTS:jllm_small_core> $<TARGET_OBJECTS:${name}_backends>)
  if("cuda" IN_LIST ARGN)
    list(APPEND objects $<TARGET_OBJECTS:jllm_small_cuda>)
  endif()
  if("host" IN_LIST ARGN)
    list(APPEND objects ${HOST_OBJECTS})
  endif()
  add_library(${name} SHARED ${objects})
  # Linked as C: whatever needs the C++ runtime fails here.
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE C VERSION ${PROJECT_VERSION}
                        SOVERSION ${PROJECT_VERSION_MAJOR})
  target_link_options(${name} PRIVATE -Wl,--gc-sections -Wl,-z,defs -Wl,-z,noseparate-code
                      -Wl,-Bsymbolic -Wl,--hash-style=gnu -Wl,-O1 -Wl,--as-needed)
  target_link_libraries(${name} PRIVATE Threads::Threads ${CMAKE_DL_LIBS} m)
endfunction()

jllm_small_library(jllm_executor_shared ${JLLM_BACKENDS})
set_target_properties(jllm_executor_shared PROPERTIES OUTPUT_NAME jllm_executor)
