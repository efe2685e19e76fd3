// What CubeCL's CUDA C++ takes for given, on the processor: the threads of a block one after the other, or, where a function has
// barriers, as coroutines that change at each.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>
#include <math.h>
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#undef __device__
#undef __shared__
#undef __launch_bounds__
#undef __grid_constant__
#define __device__
#define __shared__
#define __launch_bounds__(threads)
#define __grid_constant__

static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;

// CubeCL puts all shared memory of a function into one array. An H100's.
namespace function {
alignas(1024) unsigned char dynamic_shared_mem[232448];
}

using std::max;
using std::min;

// Fast ones are as exact as the others here.
#define __expf expf
#define __logf logf
static float __fdividef(float a, float b) { return a / b; }
static unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned long long>(a) * b >> 32; }
static int __popc(unsigned a) { return __builtin_popcount(a); }

// Launches run alone and their threads by turns: nothing needs to be atomic.
template <class T, class U>
static T atomicAdd(T* at, U value) {
    return std::exchange(*at, T(*at + value));
}
template <class T, class U>
static T atomicMax(T* at, U value) {
    return std::exchange(*at, std::max(*at, T(value)));
}
template <class T, class U>
static T atomicMin(T* at, U value) {
    return std::exchange(*at, std::min(*at, T(value)));
}
template <class T, class U>
static T atomicExch(T* at, U value) {
    return std::exchange(*at, T(value));
}

static void** parameters;
static void (*body)();

// Begins as a context of its own stack; from then on the lighter jumps do, which leave the signals alone.
struct Thread {
    ucontext_t begin;
    jmp_buf state;
    uint3 index;
    bool begun, done;
};
static std::vector<Thread> threads;
static jmp_buf scheduler;
static Thread* running;

static void __syncthreads() {
    if (_setjmp(running->state) == 0) _longjmp(scheduler, 1);
}

static void enter() {
    body();
    running->done = true;
    _longjmp(scheduler, 1);
}

// To the thread's next barrier, or its end.
static void resume(Thread& thread) {
    running = &thread;
    threadIdx = thread.index;
    if (_setjmp(scheduler) != 0) return;
    if (thread.begun) _longjmp(thread.state, 1);
    thread.begun = true;
    setcontext(&thread.begin);
}

static uint3 index_of(unsigned thread) {
    return {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
}

static void run_with_barriers(unsigned count, unsigned shared) {
    constexpr size_t STACK = 1 << 16;
    static auto* stacks = static_cast<char*>(malloc(1024 * STACK));
    // Whoever reads what was never written shall notice.
    memset(function::dynamic_shared_mem, 0xff, shared);
    threads.resize(count);
    for (unsigned t = 0; t < count; t++) {
        Thread& thread = threads[t];
        thread.index = index_of(t);
        thread.begun = thread.done = false;
        getcontext(&thread.begin);
        thread.begin.uc_stack.ss_sp = stacks + t * STACK;
        thread.begin.uc_stack.ss_size = STACK;
        thread.begin.uc_link = nullptr;
        makecontext(&thread.begin, enter, 0);
    }
    for (size_t done = 0; done < count;) {
        for (Thread& thread : threads) resume(thread);
        done = std::count_if(threads.begin(), threads.end(), [](const Thread& thread) { return thread.done; });
        if (done != 0 && done != count) {
            fprintf(stderr, "stand-in: %zu of %u threads end before a barrier of the others\n", done, count);
            abort();
        }
    }
}

static void run_without_barriers(unsigned count) {
    for (unsigned t = 0; t < count; t++) {
        threadIdx = index_of(t);
        body();
    }
}

template <class... A, size_t... I>
static void apply(void (*function)(A...), std::index_sequence<I...>) {
    function(*static_cast<std::remove_cv_t<A>*>(parameters[I])...);
}
template <class... A>
static void apply(void (*function)(A...)) {
    apply(function, std::index_sequence_for<A...>());
}

static void run_blocks(dim3 grid, dim3 block, unsigned shared, bool barriers) {
    gridDim = grid;
    blockDim = block;
    const unsigned count = block.x * block.y * block.z;
    for (unsigned z = 0; z < grid.z; z++) {
        for (unsigned y = 0; y < grid.y; y++) {
            for (unsigned x = 0; x < grid.x; x++) {
                blockIdx = {x, y, z};
                barriers ? run_with_barriers(count, shared) : run_without_barriers(count);
            }
        }
    }
}

// The one function of a library.
#define FUNCTION(name, barriers)                                               \
    extern "C" void run(dim3 grid, dim3 block, unsigned shared, void** given) { \
        parameters = given;                                                    \
        body = [] { apply(function::name); };                                  \
        run_blocks(grid, block, shared, barriers);                             \
    }
