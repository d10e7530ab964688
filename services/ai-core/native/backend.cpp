// A ggml backend for what a server spends its time on: products of Q8_0 weights with several rows,
// and attention over a cache that many sequences share. llama.cpp asks every backend what it
// supports, tensor by tensor; everything else stays with ggml's own CPU code.
//
// The weights stay where llama.cpp has mapped them: no copy, no change of layout, no time at load.

#include "attention.h"
#include "ggml-backend-impl.h"
#include "ggml-backend.h"
#include "ggml-impl.h"
#include "q8_0_matmul.h"

#include <cstdlib>
#include <cstring>
#include <memory>


namespace {

// From so many rows on, rearranging the weights is paid back: one row is bound by memory alone.
constexpr int64_t kMinRows = 2;
// From so many pairs of a row and a cell on, attention is worth a change of backends.
constexpr int64_t kMinPairs = 512;

struct FreeDeleter {
    void operator()(char * memory) const { std::free(memory); }
};

struct State {
    int threads = GGML_DEFAULT_N_THREADS;
    std::unique_ptr<char, FreeDeleter> scratch;
    size_t scratch_bytes = 0;

    char * reserve(size_t bytes) {
        if (scratch_bytes < bytes) {
            const size_t rounded = (bytes + 63) / 64 * 64;
            scratch.reset(static_cast<char *>(std::aligned_alloc(64, rounded)));
            GGML_ASSERT(scratch != nullptr);
            scratch_bytes = rounded;
        }
        return scratch.get();
    }
};

bool is_matrix(const ggml_tensor * tensor) {
    return tensor->ne[2] == 1 && tensor->ne[3] == 1;
}

bool supports_product(const ggml_tensor * op) {
    const ggml_tensor * weights = op->src[0];
    const ggml_tensor * activations = op->src[1];
    return weights->type == GGML_TYPE_Q8_0 && activations->type == GGML_TYPE_F32 && op->type == GGML_TYPE_F32 &&
           activations->ne[1] >= kMinRows && is_matrix(weights) && is_matrix(activations) &&
           ggml_is_contiguous(weights) && activations->nb[0] == sizeof(float) && op->nb[0] == sizeof(float);
}

bool supports_attention(const ggml_tensor * op) {
    const ggml_tensor * queries = op->src[0];
    const ggml_tensor * keys = op->src[1];
    const ggml_tensor * values = op->src[2];
    const ggml_tensor * mask = op->src[3];
    const auto parameter = [op](int index) {
        float value;
        std::memcpy(&value, op->op_params + index, sizeof value);
        return value;
    };
    const bool plain = parameter(1) == 0.0f && parameter(2) == 0.0f && op->src[4] == nullptr;
    const bool types = (keys->type == GGML_TYPE_F16 || keys->type == GGML_TYPE_BF16) &&
                       values->type == keys->type && queries->type == GGML_TYPE_F32 && op->type == GGML_TYPE_F32;
    const bool shapes = queries->ne[0] == keys->ne[0] && keys->ne[0] == values->ne[0] && keys->ne[0] % 64 == 0 &&
                        queries->ne[2] % keys->ne[2] == 0 && queries->ne[2] / keys->ne[2] <= 64 &&
                        queries->ne[3] == 1 && keys->ne[3] == 1 && queries->nb[0] == sizeof(float) &&
                        keys->nb[0] == 2 && values->nb[0] == 2 && ggml_is_contiguous(op);
    const bool masked = mask != nullptr && mask->type == GGML_TYPE_F16 && is_matrix(mask) && mask->nb[0] == 2;
    return plain && types && shapes && masked && queries->ne[1] * keys->ne[1] >= kMinPairs;
}

bool is_empty(const ggml_tensor * op) {
    switch (op->op) {
        case GGML_OP_NONE:
        case GGML_OP_RESHAPE:
        case GGML_OP_VIEW:
        case GGML_OP_PERMUTE:
        case GGML_OP_TRANSPOSE: return true;
        default: return false;
    }
}

void compute_attention(State & state, ggml_tensor * op) {
    const ggml_tensor * queries = op->src[0];
    const ggml_tensor * keys = op->src[1];
    const ggml_tensor * values = op->src[2];
    const ggml_tensor * mask = op->src[3];
    neo::Attention attention{};
    attention.queries = static_cast<const char *>(queries->data);
    attention.query_row_stride = queries->nb[1];
    attention.query_head_stride = queries->nb[2];
    attention.keys = static_cast<const char *>(keys->data);
    attention.key_stride = keys->nb[1];
    attention.key_head_stride = keys->nb[2];
    attention.values = static_cast<const char *>(values->data);
    attention.value_stride = values->nb[1];
    attention.value_head_stride = values->nb[2];
    attention.mask = static_cast<const char *>(mask->data);
    attention.mask_stride = mask->nb[1];
    attention.result = static_cast<float *>(op->data);
    attention.type = keys->type == GGML_TYPE_F16 ? neo::KvType::f16 : neo::KvType::bf16;
    std::memcpy(&attention.scale, op->op_params, sizeof attention.scale);
    attention.width = keys->ne[0];
    attention.rows = queries->ne[1];
    attention.heads = queries->ne[2];
    attention.kv_heads = keys->ne[2];
    attention.cells = keys->ne[1];
    neo::attend(attention, state.reserve(neo::scratch_bytes(attention, state.threads)), state.threads);
}

void compute_product(State & state, ggml_tensor * op) {
    const ggml_tensor * weights = op->src[0];
    const ggml_tensor * activations = op->src[1];
    const neo::MatMul product{
        static_cast<const char *>(weights->data),
        weights->nb[1],
        static_cast<const char *>(activations->data),
        activations->nb[1],
        static_cast<char *>(op->data),
        op->nb[1],
        activations->ne[1],
        weights->ne[1],
        weights->ne[0] / 32,
    };
    neo::multiply(product, state.reserve(neo::scratch_bytes(product, state.threads)), state.threads);
}

// --- the interface: one backend, one device, one registry entry ------------------------------------

const char * name_of(ggml_backend_t) {
    return "NEO";
}

void free_backend(ggml_backend_t backend) {
    delete static_cast<State *>(backend->context);
    delete backend;
}

ggml_status compute_graph(ggml_backend_t backend, ggml_cgraph * graph) {
    auto & state = *static_cast<State *>(backend->context);
    for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
        ggml_tensor * node = ggml_graph_node(graph, i);
        if (is_empty(node) || (node->flags & GGML_TENSOR_FLAG_COMPUTE) == 0) {
            continue;
        }
        if (node->op == GGML_OP_FLASH_ATTN_EXT) {
            compute_attention(state, node);
        } else {
            GGML_ASSERT(node->op == GGML_OP_MUL_MAT);
            compute_product(state, node);
        }
    }
    return GGML_STATUS_SUCCESS;
}

void set_threads(ggml_backend_t backend, int threads) {
    static_cast<State *>(backend->context)->threads = threads;
}

ggml_guid_t guid() {
    static ggml_guid value = {0x6e, 0x65, 0x6f, 0x2d, 0x71, 0x38, 0x2d, 0x30,
                              0x2d, 0x6d, 0x61, 0x74, 0x6d, 0x75, 0x6c, 0x31};
    return &value;
}

const char * device_name(ggml_backend_dev_t) {
    return "NEO";
}

const char * device_description(ggml_backend_dev_t) {
    return "products and attention with AVX-512";
}

void device_memory(ggml_backend_dev_t, size_t * free, size_t * total) {
    *free = 0;
    *total = 0;
}

enum ggml_backend_dev_type device_type(ggml_backend_dev_t) {
    return GGML_BACKEND_DEVICE_TYPE_ACCEL;
}

void device_properties(ggml_backend_dev_t device, ggml_backend_dev_props * properties) {
    properties->name = device_name(device);
    properties->description = device_description(device);
    properties->type = device_type(device);
    device_memory(device, &properties->memory_free, &properties->memory_total);
    properties->caps = {};
    properties->caps.buffer_from_host_ptr = true;
    properties->caps.mmap_support = true;
}

ggml_backend_t open_backend(ggml_backend_dev_t device, const char *) {
    ggml_backend_i functions = {};
    functions.get_name = name_of;
    functions.free = free_backend;
    functions.graph_compute = compute_graph;
    return new ggml_backend{guid(), functions, device, new State};
}

ggml_backend_buffer_type_t device_buffer_type(ggml_backend_dev_t) {
    return ggml_backend_cpu_buffer_type();
}

ggml_backend_buffer_t device_buffer(ggml_backend_dev_t, void * memory, size_t size, size_t) {
    return ggml_backend_cpu_buffer_from_ptr(memory, size);
}

bool device_supports(ggml_backend_dev_t, const ggml_tensor * op) {
    return is_empty(op) || (op->op == GGML_OP_MUL_MAT && supports_product(op)) ||
           (op->op == GGML_OP_FLASH_ATTN_EXT && supports_attention(op));
}

bool device_supports_buffers(ggml_backend_dev_t, ggml_backend_buffer_type_t type) {
    return ggml_backend_buft_is_host(type);
}

const char * registry_name(ggml_backend_reg_t) {
    return "NEO";
}

size_t device_count(ggml_backend_reg_t) {
    return 1;
}

ggml_backend_dev_t device_at(ggml_backend_reg_t registry, size_t) {
    static ggml_backend_device device = [registry] {
        ggml_backend_device made = {};
        made.iface.get_name = device_name;
        made.iface.get_description = device_description;
        made.iface.get_memory = device_memory;
        made.iface.get_type = device_type;
        made.iface.get_props = device_properties;
        made.iface.init_backend = open_backend;
        made.iface.get_buffer_type = device_buffer_type;
        made.iface.buffer_from_host_ptr = device_buffer;
        made.iface.supports_op = device_supports;
        made.iface.supports_buft = device_supports_buffers;
        made.reg = registry;
        return made;
    }();
    return &device;
}

void * function_at(ggml_backend_reg_t, const char * name) {
    if (std::strcmp(name, "ggml_backend_set_n_threads") == 0) {
        return reinterpret_cast<void *>(set_threads);
    }
    return nullptr;
}

bool processor_fits() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt");
}

}  // namespace

// What ggml_backend_load looks for. Nothing is registered where the processor cannot compute it.
extern "C" __attribute__((visibility("default"))) ggml_backend_reg_t ggml_backend_init() {
    if (!processor_fits()) {
        return nullptr;
    }
    static ggml_backend_reg registry = [] {
        ggml_backend_reg made = {};
        made.api_version = GGML_BACKEND_API_VERSION;
        made.iface.get_name = registry_name;
        made.iface.get_device_count = device_count;
        made.iface.get_device = device_at;
        made.iface.get_proc_address = function_at;
        return made;
    }();
    return &registry;
}

extern "C" __attribute__((visibility("default"))) int ggml_backend_score() {
    return processor_fits() ? 1 : 0;
}
