# Read inside llama.cpp's project() (see workspace_setup/llama.py). The Python bindings switch its
# helper library for command-line programs on by force, in the cache; a plain variable goes before
# the cache. The engine uses none of it, and it is a third of the compilation.
set(LLAMA_BUILD_COMMON OFF)
