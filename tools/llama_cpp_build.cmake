# Read inside llama.cpp's project(), in its directory; see workspace_setup/llama.py.

# The Python bindings switch the helper library of llama.cpp's command-line programs on by force,
# in the cache; a plain variable goes before the cache. The engine uses none of it, and it is a
# good part of the compilation.
set(LLAMA_BUILD_COMMON OFF)

# The AMX kernels of this version end with a segmentation fault (at ldtilecfg, compiled by GCC 12)
# in the first batch of several rows, on processors that have AMX. Without them AVX-512 is used.
option(NEO_AMX "compile llama.cpp's AMX kernels" OFF)
if(NOT NEO_AMX AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    include(CheckCXXCompilerFlag)
    foreach(feature amx-tile amx-int8 amx-bf16)
        string(MAKE_C_IDENTIFIER "COMPILER_KNOWS_${feature}" known)
        check_cxx_compiler_flag("-mno-${feature}" ${known})
        if(${known})
            add_compile_options("-mno-${feature}")
        endif()
    endforeach()
endif()

# Our own kernels, beside llama.cpp's libraries. Deferred: what they link to does not exist yet.
get_filename_component(neo_kernels "${CMAKE_CURRENT_LIST_DIR}/../services/ai-core/native/kernels.cmake" ABSOLUTE)
cmake_language(EVAL CODE "cmake_language(DEFER CALL include [[${neo_kernels}]])")
