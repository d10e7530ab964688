#!/bin/sh
# Compiles llama-cpp-python for every x86-64 processor, unless a wheel lies in $1/wheels already.
set -eu
root="$1"
for wheel in "$root"/wheels/llama_cpp_python-*.whl; do
    [ -e "$wheel" ] && exit 0
done
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends g++ make
python3 -m venv /opt/llama
# One lock names what is compiled and what it is compiled with.
awk '/^llama-cpp-python==/ { ours = 1 } { print > (ours ? "/tmp/llama.txt" : "/tmp/tools.txt") } !/\\$/ && !/^ *#/ { ours = 0 }' \
    "$root/wheels/llama.txt"
/opt/llama/bin/pip install --require-hashes --no-deps -r /tmp/tools.txt
CMAKE_ARGS="-DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE=$root/tools/llama_cpp_build.cmake \
-DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON -DGGML_BACKEND_DIR=llama_cpp/lib" PATH=/opt/llama/bin:$PATH \
    /opt/llama/bin/pip wheel --no-deps --no-build-isolation --no-binary :all: --require-hashes \
    -r /tmp/llama.txt -w "$root/wheels"
