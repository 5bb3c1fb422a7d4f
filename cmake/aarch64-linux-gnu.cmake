# Cross compilation for the device with Debian's g++-aarch64-linux-gnu, against the sysroot that tools/cross_aarch64.sh
# unpacks: Debian 11's glibc 2.31, the floor of JetPack 5, with the cross compiler's own libstdc++ linked statically.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)

get_filename_component(JLLM_ROOT ${CMAKE_CURRENT_LIST_DIR} DIRECTORY)
set(CMAKE_SYSROOT ${JLLM_ROOT}/.deps/sysroot-aarch64)
if(NOT EXISTS ${CMAKE_SYSROOT}/complete)
  message(FATAL_ERROR "There is no sysroot: run tools/cross_aarch64.sh --sysroot")
endif()
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

# The compiler looks first into the glibc that Debian packs for it, which is newer: its search is written out here
# instead, C++ before its own headers before glibc's.
execute_process(COMMAND ${CMAKE_CXX_COMPILER} -dumpversion OUTPUT_VARIABLE version OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=include OUTPUT_VARIABLE own OUTPUT_STRIP_TRAILING_WHITESPACE)
# own: PREFIX/lib/gcc-cross/aarch64-linux-gnu/12/include
get_filename_component(cxx ${own}/../../../../../aarch64-linux-gnu/include/c++/${version} ABSOLUTE)
set(libc "-isystem ${own} -isystem ${CMAKE_SYSROOT}/usr/include/aarch64-linux-gnu -isystem ${CMAKE_SYSROOT}/usr/include")
# Start files, libc and libgcc_eh.
set(places "-B${CMAKE_SYSROOT}/usr/lib/aarch64-linux-gnu/")
set(CMAKE_C_FLAGS_INIT "-nostdinc ${libc} ${places}")
set(CMAKE_CXX_FLAGS_INIT
    "-nostdinc -isystem ${cxx} -isystem ${cxx}/aarch64-linux-gnu -isystem ${cxx}/backward ${libc} ${places}")
# What libstdc++.a asks of a newer glibc.
set(CMAKE_EXE_LINKER_FLAGS_INIT ${CMAKE_SYSROOT}/usr/lib/glibc-floor.o)
set(CMAKE_SHARED_LINKER_FLAGS_INIT ${CMAKE_SYSROOT}/usr/lib/glibc-floor.o)

# Programs are the workstation's, libraries the sysroot's; header-only libraries may be the workstation's.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
find_program(QEMU_AARCH64 qemu-aarch64)
if(QEMU_AARCH64)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${QEMU_AARCH64} -L ${CMAKE_SYSROOT})
endif()
