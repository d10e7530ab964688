# The kernels as a library that ggml loads while the program runs. Part of llama.cpp's own build
# (tools/llama_cpp_build.cmake includes this file), because a backend is compiled against headers
# that llama.cpp does not install. Left out, with a message, where it cannot be built: everything then
# runs on ggml's own code.

include(CheckCXXCompilerFlag)
find_package(OpenMP COMPONENTS CXX)

set(KERNEL_FLAGS -O3 -mfma -mf16c -mbmi -mbmi2 -mpopcnt -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni)
list(JOIN KERNEL_FLAGS " " KERNEL_FLAGS_TEXT)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    check_cxx_compiler_flag("${KERNEL_FLAGS_TEXT}" COMPILER_KNOWS_AVX512_VNNI)
endif()
if(OpenMP_CXX_FOUND AND COMPILER_KNOWS_AVX512_VNNI)
    set(backend ${CMAKE_CURRENT_LIST_DIR}/backend.cpp)
    set(kernels ${CMAKE_CURRENT_LIST_DIR}/q8_0_matmul.cpp ${CMAKE_CURRENT_LIST_DIR}/attention.cpp)
    add_library(ggml-neo MODULE ${backend} ${kernels})
    target_compile_features(ggml-neo PRIVATE cxx_std_20)
    set_source_files_properties(${kernels} PROPERTIES COMPILE_OPTIONS "${KERNEL_FLAGS}")
    # GCC's own AVX-512 header reads undefined registers on purpose, and ggml's header has helpers that
    # not every reader uses.
    target_compile_options(ggml-neo PRIVATE -Wall -Wextra -Wno-maybe-uninitialized -Wno-unused-function)
    target_include_directories(ggml-neo PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/ggml/src)
    target_link_libraries(ggml-neo PRIVATE ggml-base OpenMP::OpenMP_CXX)
    set_target_properties(ggml-neo PROPERTIES
        CXX_VISIBILITY_PRESET hidden
        INSTALL_RPATH "$ORIGIN"
        BUILD_WITH_INSTALL_RPATH TRUE)
    install(TARGETS ggml-neo LIBRARY DESTINATION ${SKBUILD_PLATLIB_DIR}/llama_cpp/lib)
else()
    message(STATUS "Neo's kernels are left out: they need x86-64, OpenMP and a compiler with AVX-512 VNNI")
endif()
