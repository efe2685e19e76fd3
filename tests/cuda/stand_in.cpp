// A CUDA driver and NVRTC without a GPU: every function is compiled by the true NVRTC, whose errors count, and once more by the C++
// compiler for the processor, which then runs it. Built twice, as libcuda.so and libnvrtc.so, by tests/cuda/check.
//
// CUDA_STAND_IN: folder of what was compiled, with device.hpp's folders of headers in `flags`. TRUE_NVRTC: the library's path.

#include <cuda.h>
#include <dlfcn.h>
#include <nvrtc.h>
#include <unistd.h>
#include <vector_types.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <regex>
#include <string>

namespace {

// A context, a stream, an event: there is one of each, and what is asked for has been done when the call returns.
template <class T>
T only_one() {
    static int it;
    return reinterpret_cast<T>(&it);
}

std::mutex memory_lock, launch_lock;
std::map<CUdeviceptr, void*> memory;

CUresult allocate(CUdeviceptr* at, size_t bytes) {
    void* found = nullptr;
    if (posix_memalign(&found, 512, bytes + 512) != 0) return CUDA_ERROR_OUT_OF_MEMORY;
    // Whoever reads what was never written shall notice.
    memset(found, 0xcd, bytes);
    std::lock_guard<std::mutex> guard(memory_lock);
    *at = reinterpret_cast<CUdeviceptr>(found);
    memory[*at] = found;
    return CUDA_SUCCESS;
}

CUresult release(CUdeviceptr at) {
    std::lock_guard<std::mutex> guard(memory_lock);
    auto found = memory.find(at);
    if (found == memory.end()) return CUDA_ERROR_INVALID_VALUE;
    free(found->second);
    memory.erase(found);
    return CUDA_SUCCESS;
}

void* pointer(CUdeviceptr at) { return reinterpret_cast<void*>(at); }

// An H100's, as far as CubeCL asks.
int attribute(CUdevice_attribute of) {
    switch (of) {
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return 9;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return 0;
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: return 1024;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: return 64;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: return 2147483647;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 65535;
        case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return 32;
        case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return 132;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return 232448;
        default: return 1;
    }
}

// What device.hpp defines for a function.
using Run = void (*)(dim3 grid, dim3 block, unsigned shared, void** parameters);

struct Program {
    std::string source, log, library;
};

std::string folder() {
    const char* name = getenv("CUDA_STAND_IN");
    return name == nullptr ? "." : name;
}

void* true_nvrtc() {
    static void* library = dlopen(getenv("TRUE_NVRTC"), RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (library == nullptr) fprintf(stderr, "stand-in: %s\n", dlerror());
    return library;
}

template <class F>
F of_true_nvrtc(F, const char* name) {
    return reinterpret_cast<F>(dlsym(true_nvrtc(), name));
}
#define TRUE(name) of_true_nvrtc(&name, #name)

// Keeps what it made, for tools that read machine code.
nvrtcResult compile_for_gpu(Program& of, const std::string& base, int count, const char* const* options) {
    nvrtcProgram program;
    TRUE(nvrtcCreateProgram)(&program, of.source.c_str(), nullptr, 0, nullptr, nullptr);
    nvrtcResult result = TRUE(nvrtcCompileProgram)(program, count, options);
    size_t length = 0;
    TRUE(nvrtcGetProgramLogSize)(program, &length);
    of.log.resize(length);
    TRUE(nvrtcGetProgramLog)(program, of.log.data());
    if (result == NVRTC_SUCCESS) {
        TRUE(nvrtcGetPTXSize)(program, &length);
        std::string code(length, '\0');
        TRUE(nvrtcGetPTX)(program, code.data());
        std::ofstream(base + ".ptx") << code.c_str();
    }
    TRUE(nvrtcDestroyProgram)(&program);
    return result;
}

nvrtcResult compile_for_processor(Program& of, const std::string& base) {
    std::string source = of.source;
    // The launch bounds stand before a function's name.
    std::smatch name;
    if (!std::regex_search(source, name, std::regex("__launch_bounds__\\([0-9]+\\)\\s*(\\w+)"))) return NVRTC_ERROR_INVALID_INPUT;
    source = std::regex_replace(source, std::regex("extern \"C\" __global__"), "static");
    const char* barriers = source.find("__sync") == std::string::npos ? "false" : "true";
    std::ofstream(base + ".cpp") << "namespace function {\n" << source << "\n}\nFUNCTION(" << name[1] << ", " << barriers << ")\n";
    std::string command = "c++ @" + folder() + "/flags -o " + base + ".part " + base + ".cpp 2> " + base + ".errors";
    if (system(command.c_str()) != 0) {
        of.log = "see " + base + ".errors";
        return NVRTC_ERROR_COMPILATION;
    }
    rename((base + ".part").c_str(), of.library.c_str());
    return NVRTC_SUCCESS;
}

}  // namespace

extern "C" {

// The driver.

CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int* count) { return *count = 1, CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice* device, int index) { return *device = index, index == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE; }
CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute of, CUdevice) { return *value = attribute(of), CUDA_SUCCESS; }
CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice) { return *bytes = size_t(80) << 30, CUDA_SUCCESS; }
CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) { return *context = only_one<CUcontext>(), CUDA_SUCCESS; }
CUresult cuCtxSetCurrent(CUcontext) { return CUDA_SUCCESS; }
CUresult cuStreamCreate(CUstream* stream, unsigned) { return *stream = only_one<CUstream>(), CUDA_SUCCESS; }
CUresult cuStreamWaitEvent(CUstream, CUevent, unsigned) { return CUDA_SUCCESS; }
CUresult cuStreamSynchronize(CUstream) { return CUDA_SUCCESS; }
CUresult cuEventCreate(CUevent* event, unsigned) { return *event = only_one<CUevent>(), CUDA_SUCCESS; }
CUresult cuEventRecord(CUevent, CUstream) { return CUDA_SUCCESS; }
CUresult cuEventSynchronize(CUevent) { return CUDA_SUCCESS; }
CUresult cuEventDestroy_v2(CUevent) { return CUDA_SUCCESS; }
CUresult cuMemAllocAsync(CUdeviceptr* at, size_t bytes, CUstream) { return allocate(at, bytes); }
CUresult cuMemAlloc_v2(CUdeviceptr* at, size_t bytes) { return allocate(at, bytes); }
CUresult cuMemFreeAsync(CUdeviceptr at, CUstream) { return release(at); }
CUresult cuMemFree_v2(CUdeviceptr at) { return release(at); }
CUresult cuMemAllocHost_v2(void** at, size_t bytes) { return *at = malloc(bytes), CUDA_SUCCESS; }
CUresult cuMemFreeHost(void* at) { return free(at), CUDA_SUCCESS; }
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream) {
    return memcpy(pointer(to), from, bytes), CUDA_SUCCESS;
}
CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream) {
    return memcpy(to, pointer(from), bytes), CUDA_SUCCESS;
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream) {
    return memmove(pointer(to), pointer(from), bytes), CUDA_SUCCESS;
}

CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D* copy, CUstream) {
    const bool from_host = copy->srcMemoryType == CU_MEMORYTYPE_HOST, to_host = copy->dstMemoryType == CU_MEMORYTYPE_HOST;
    auto from = static_cast<const char*>(from_host ? copy->srcHost : pointer(copy->srcDevice));
    auto to = static_cast<char*>(to_host ? copy->dstHost : pointer(copy->dstDevice));
    from += copy->srcY * copy->srcPitch + copy->srcXInBytes;
    to += copy->dstY * copy->dstPitch + copy->dstXInBytes;
    for (size_t row = 0; row < copy->Height; row++) {
        memcpy(to + row * copy->dstPitch, from + row * copy->srcPitch, copy->WidthInBytes);
    }
    return CUDA_SUCCESS;
}

// What NVRTC's stand-in calls PTX is the path of a library.
CUresult cuModuleLoadData(CUmodule* module, const void* image) {
    *module = reinterpret_cast<CUmodule>(dlopen(static_cast<const char*>(image), RTLD_NOW | RTLD_LOCAL));
    if (*module == nullptr) fprintf(stderr, "stand-in: %s\n", dlerror());
    return *module == nullptr ? CUDA_ERROR_INVALID_IMAGE : CUDA_SUCCESS;
}
CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char*) {
    *function = reinterpret_cast<CUfunction>(dlsym(module, "run"));
    return *function == nullptr ? CUDA_ERROR_NOT_FOUND : CUDA_SUCCESS;
}
CUresult cuFuncSetAttribute(CUfunction, CUfunction_attribute, int) { return CUDA_SUCCESS; }
CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                        unsigned shared, CUstream, void** parameters, void**) {
    std::lock_guard<std::mutex> guard(launch_lock);
    reinterpret_cast<Run>(function)({gx, gy, gz}, {bx, by, bz}, shared, parameters);
    return CUDA_SUCCESS;
}
CUresult cuGetErrorName(CUresult, const char** text) { return *text = "an error of the stand-in", CUDA_SUCCESS; }
CUresult cuGetErrorString(CUresult, const char** text) { return *text = "an error of the stand-in", CUDA_SUCCESS; }

// NVRTC.

nvrtcResult nvrtcCreateProgram(nvrtcProgram* program, const char* source, const char*, int, const char* const*, const char* const*) {
    *program = reinterpret_cast<nvrtcProgram>(new Program{source, "", ""});
    return NVRTC_SUCCESS;
}
nvrtcResult nvrtcDestroyProgram(nvrtcProgram* program) {
    delete reinterpret_cast<Program*>(*program);
    return NVRTC_SUCCESS;
}
nvrtcResult nvrtcCompileProgram(nvrtcProgram program, int count, const char* const* options) {
    auto& of = *reinterpret_cast<Program*>(program);
    char name[32];
    snprintf(name, sizeof name, "/%016zx", std::hash<std::string>()(of.source));
    const std::string base = folder() + name;
    of.library = base + ".so";
    if (access(of.library.c_str(), R_OK) == 0) return NVRTC_SUCCESS;
    const nvrtcResult result = compile_for_gpu(of, base, count, options);
    return result == NVRTC_SUCCESS ? compile_for_processor(of, base) : result;
}
nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram of, size_t* length) {
    return *length = reinterpret_cast<Program*>(of)->log.size() + 1, NVRTC_SUCCESS;
}
nvrtcResult nvrtcGetProgramLog(nvrtcProgram of, char* log) {
    return strcpy(log, reinterpret_cast<Program*>(of)->log.c_str()), NVRTC_SUCCESS;
}
nvrtcResult nvrtcGetPTXSize(nvrtcProgram of, size_t* length) {
    return *length = reinterpret_cast<Program*>(of)->library.size() + 1, NVRTC_SUCCESS;
}
nvrtcResult nvrtcGetPTX(nvrtcProgram of, char* code) {
    return strcpy(code, reinterpret_cast<Program*>(of)->library.c_str()), NVRTC_SUCCESS;
}
}
