# The libraries that programs outside of this project link: libjllm_executor, libjllm_text.
#
# The shared one is made small, for a device's image: compiled for size, without unwind tables
# (nothing may be thrown through it) or the C++ runtime, and on x86-64 for one instruction set. The
# static one is what jllm itself links: it picks the best instruction set and is optimised for speed,
# at some 700 KB.

set(SMALL_OPTIONS -Os -fno-exceptions -fno-rtti -fno-asynchronous-unwind-tables -fno-unwind-tables
                  -fvisibility=hidden -fvisibility-inlines-hidden -ffunction-sections -fdata-sections -flto=auto)
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
           ${SCHEMA}/validate.cpp ${SCHEMA}/result.cpp ${SCHEMA}/token_pieces.cpp
           ${SCHEMA}/weight_file.cpp)
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
                      -Os -flto=auto -Wl,-Bsymbolic -Wl,--hash-style=gnu -Wl,-O1 -Wl,--as-needed)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    # Else the linker fills the file up to the largest page that a kernel may have, 64 KiB.
    target_link_options(${name} PRIVATE -Wl,-z,norelro)
  endif()
  target_link_libraries(${name} PRIVATE Threads::Threads ${CMAKE_DL_LIBS} m)
endfunction()

jllm_small_library(jllm_executor_shared ${JLLM_BACKENDS})

# The static library: the objects of the parts in one archive.
set(FAST_OBJECTS $<TARGET_OBJECTS:jllm_executor> $<TARGET_OBJECTS:jllm_schema>)
if("cuda" IN_LIST JLLM_BACKENDS)
  list(APPEND FAST_OBJECTS $<TARGET_OBJECTS:jllm_cuda_driver>)
endif()
if("host" IN_LIST JLLM_BACKENDS)
  list(APPEND FAST_OBJECTS $<TARGET_OBJECTS:jllm_host_backend>)
  foreach(set ${JLLM_HOST_SETS})
    string(REGEX REPLACE "^([^|]*)[|]([^|]*)[|].*" "jllm_host_\\1_\\2" object "${set}")
    list(APPEND FAST_OBJECTS $<TARGET_OBJECTS:${object}>)
  endforeach()
endif()
add_library(jllm_executor_static STATIC ${FAST_OBJECTS})
set_target_properties(jllm_executor_static PROPERTIES LINKER_LANGUAGE C)
target_link_libraries(jllm_executor_static PRIVATE Threads::Threads ${CMAKE_DL_LIBS} m)

# Text: the C interface over executor/text. The C++ runtime and PCRE2 are inside the shared one.
add_library(jllm_text_api OBJECT src/c_api/jllm_text.cpp)
target_include_directories(jllm_text_api PRIVATE include)
target_link_libraries(jllm_text_api PRIVATE jllm_schema jllm_flags)
set(TEXT_OBJECTS $<TARGET_OBJECTS:jllm_text_api> $<TARGET_OBJECTS:jllm_text>)
add_library(jllm_text_static STATIC ${TEXT_OBJECTS})
target_link_libraries(jllm_text_static PUBLIC jllm_executor_static)
add_library(jllm_text_shared SHARED ${TEXT_OBJECTS} $<TARGET_OBJECTS:jllm_schema>)
target_link_libraries(jllm_text_shared PUBLIC jllm_executor_shared PRIVATE ${PCRE2_LIBRARY})
target_link_options(jllm_text_shared PRIVATE -static-libstdc++ -static-libgcc -Wl,--gc-sections
                    -Wl,-z,defs -Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/text.map)
set_target_properties(jllm_text_shared PROPERTIES LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/text.map
                      INSTALL_RPATH "$ORIGIN")

foreach(part executor text)
  set_target_properties(jllm_${part}_static PROPERTIES OUTPUT_NAME jllm_${part} EXPORT_NAME ${part}_static)
  set_target_properties(jllm_${part}_shared PROPERTIES OUTPUT_NAME jllm_${part} EXPORT_NAME ${part}
                        VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
  foreach(kind static shared)
    set_target_properties(jllm_${part}_${kind} PROPERTIES
                          ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib
                          LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
    target_include_directories(jllm_${part}_${kind} INTERFACE
                               $<INSTALL_INTERFACE:include> $<INSTALL_INTERFACE:include/jllm/cpp>)
    target_compile_features(jllm_${part}_${kind} INTERFACE cxx_std_17)
  endforeach()
endforeach()
