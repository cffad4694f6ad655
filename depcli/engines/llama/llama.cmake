# Included by llama.cpp's CMakeLists.txt where the Makefile builds llama-cpp-python.

# The library of llama.cpp's command-line tools is minutes of work, and the Python package never loads it.
set(LLAMA_BUILD_COMMON OFF)

# What computes is built for any processor with AVX2, and once more with AVX-512, in a folder where glibc's loader (2.33 or newer)
# looks first on processors that have it.
if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  include(ExternalProject)
  ExternalProject_Add(
    ggml-avx512
    SOURCE_DIR ${CMAKE_CURRENT_SOURCE_DIR}
    CMAKE_ARGS -DCMAKE_BUILD_TYPE=${CMAKE_BUILD_TYPE} -DGGML_NATIVE=OFF -DGGML_AVX512=ON
               -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF
               -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF
               -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DCMAKE_INSTALL_RPATH=$ORIGIN/../..
    BUILD_COMMAND ${CMAKE_COMMAND} --build <BINARY_DIR> --target ggml-cpu
    INSTALL_COMMAND ${CMAKE_COMMAND} -E copy <BINARY_DIR>/bin/libggml-cpu.so.0 <INSTALL_DIR>/libggml-cpu.so.0
  )
  ExternalProject_Get_Property(ggml-avx512 INSTALL_DIR)
  install(FILES ${INSTALL_DIR}/libggml-cpu.so.0 DESTINATION ${SKBUILD_PLATLIB_DIR}/llama_cpp/lib/glibc-hwcaps/x86-64-v4)
endif()
