# What is installed where, as three parts that become three Debian packages:
#   device       jllm and the shared libraries
#   dev          headers, static libraries, CMake and pkg-config files
#   workstation  jllmc, and the script that fetches NVRTC
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS jllm RUNTIME COMPONENT device)
foreach(part executor text)
  install(TARGETS jllm_${part}_shared EXPORT jllm_${part}
          LIBRARY COMPONENT device NAMELINK_COMPONENT dev)
  install(TARGETS jllm_${part}_static EXPORT jllm_${part} ARCHIVE COMPONENT dev)
  install(EXPORT jllm_${part} NAMESPACE jllm:: COMPONENT dev
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/jllm FILE jllm_${part}.cmake)
endforeach()
install(DIRECTORY executor/include/jllm DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev)
# What executor.h includes.
foreach(header export prefix result step_state view)
  install(FILES schema/${header}.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/jllm/cpp/schema
          COMPONENT dev)
endforeach()

configure_package_config_file(cmake/jllmConfig.cmake.in ${CMAKE_BINARY_DIR}/cmake/jllmConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/jllm)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/cmake/jllmConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/cmake/jllmConfig.cmake
              ${CMAKE_BINARY_DIR}/cmake/jllmConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/jllm COMPONENT dev)
foreach(part executor text)
  configure_file(cmake/jllm-${part}.pc.in ${CMAKE_BINARY_DIR}/cmake/jllm-${part}.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/cmake/jllm-${part}.pc
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)
endforeach()
foreach(component device dev workstation)
  install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/jllm/${component} COMPONENT ${component})
endforeach()

# The service, where jllm can serve. It is started by install_service.sh, never by the installation of a package.
if(JLLM_SERVE)
  install(FILES packaging/systemd/jllm.service DESTINATION lib/systemd/system COMPONENT device)
  install(FILES packaging/systemd/jllm.sysusers DESTINATION lib/sysusers.d RENAME jllm.conf COMPONENT device)
  install(FILES packaging/systemd/jllm.env DESTINATION ${CMAKE_INSTALL_DATADIR}/jllm COMPONENT device)
  install(PROGRAMS tools/install_service.sh DESTINATION ${CMAKE_INSTALL_DATADIR}/jllm COMPONENT device)
  install(FILES docs/operation.md DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/jllm COMPONENT device)
  set(CPACK_DEBIAN_DEVICE_PACKAGE_CONTROL_EXTRA
      "${PROJECT_SOURCE_DIR}/packaging/debian/postinst;${PROJECT_SOURCE_DIR}/packaging/debian/prerm")
endif()

if(JLLM_BUILD_COMPILER)
  install(TARGETS jllmc RUNTIME COMPONENT workstation)
  install(PROGRAMS tools/get_nvrtc.sh DESTINATION ${CMAKE_INSTALL_DATADIR}/jllm/tools
          COMPONENT workstation)
  install(FILES tools/common.sh DESTINATION ${CMAKE_INSTALL_DATADIR}/jllm/tools
          COMPONENT workstation)
endif()

# --- Debian packages: cpack -G DEB in the build folder --------------------------------------------
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME jllm)
set(CPACK_PACKAGE_CONTACT "jllm maintainers <maintainers@localhost>")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL device dev)
if(JLLM_BUILD_COMPILER)
  list(APPEND CPACK_COMPONENTS_ALL workstation)
endif()
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION misc)
find_program(DPKG_SHLIBDEPS dpkg-shlibdeps)
if(DPKG_SHLIBDEPS)
  set(CPACK_DEBIAN_DEVICE_PACKAGE_SHLIBDEPS ON)
  set(CPACK_DEBIAN_WORKSTATION_PACKAGE_SHLIBDEPS ON)
endif()
set(CPACK_DEBIAN_DEVICE_PACKAGE_NAME jllm)
set(CPACK_DEBIAN_DEV_PACKAGE_NAME jllm-dev)
set(CPACK_DEBIAN_WORKSTATION_PACKAGE_NAME jllmc)
set(CPACK_COMPONENT_DEVICE_DESCRIPTION
    "replays compiled language models\n jllm and the libraries that programs link; no CUDA toolkit is needed.")
set(CPACK_COMPONENT_DEV_DESCRIPTION
    "replaying compiled language models from own programs\n Headers, static libraries, CMake and pkg-config files.")
set(CPACK_COMPONENT_WORKSTATION_DESCRIPTION
    "compiles language models for Jetson devices\n jllmc, and the script that fetches NVRTC.")
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "jllm (= ${PROJECT_VERSION}), libpcre2-dev")
set(CPACK_DEBIAN_WORKSTATION_PACKAGE_DEPENDS "jllm (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_WORKSTATION_PACKAGE_RECOMMENDS "python3-jinja2")
set(CPACK_DEBIAN_WORKSTATION_PACKAGE_SUGGESTS "python3-pip")
include(CPack)
