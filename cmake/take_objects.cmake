# A build whose flags are meant for executor and schema alone (preset `coverage`) links everything else as another build of
# the same sources has made it: JLLM_OBJECTS_FROM names its folder. ABI and definitions must be the same, so this is for
# flags that add checks, not for another compiler.

# jllm_take_objects(FOLDER): for every target at and below it, the other build's objects instead of its sources.
function(jllm_take_objects folder)
  get_property(targets DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target ${targets})
    get_target_property(type ${target} TYPE)
    if(NOT type MATCHES "^(STATIC_LIBRARY|SHARED_LIBRARY|EXECUTABLE)$")
      continue()
    endif()
    get_target_property(sources ${target} SOURCES)
    list(FILTER sources INCLUDE REGEX "\\.(c|cpp)$")
    if(NOT sources)
      continue()  # made of object libraries
    endif()
    get_target_property(source_dir ${target} SOURCE_DIR)
    get_target_property(binary_dir ${target} BINARY_DIR)
    file(RELATIVE_PATH place ${CMAKE_BINARY_DIR} ${binary_dir})
    set(objects)
    foreach(source ${sources})
      # As CMake names them: generated ones from the build folder, others from the source folder, "__" for "..".
      string(REPLACE "${binary_dir}/" "" source "${source}")
      if(IS_ABSOLUTE "${source}")
        file(RELATIVE_PATH source ${source_dir} ${source})
      endif()
      string(REPLACE "../" "__/" source "${source}")
      list(APPEND objects ${JLLM_OBJECTS_FROM}/${place}/CMakeFiles/${target}.dir/${source}.o)
    endforeach()
    set_target_properties(${target} PROPERTIES SOURCES "${objects}" LINKER_LANGUAGE CXX)
    set_source_files_properties(${objects} TARGET_DIRECTORY ${target} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  endforeach()
  get_property(folders DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  foreach(below ${folders})
    jllm_take_objects(${below})
  endforeach()
endfunction()
