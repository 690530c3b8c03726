// The library's C interface: which instruction sets it holds and this CPU has, threads, and one
// function that runs a kernel. Called through ctypes, which releases Python's global lock.
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <thread>
#include <vector>

#include "abi.h"
#include "order.h"

#if defined(_MSC_VER)
#include <intrin.h>
#define MAMBA_EXPORT extern "C" __declspec(dllexport)
#else
#define MAMBA_EXPORT extern "C" __attribute__((visibility("default")))
#endif
#if defined(__x86_64__) || defined(_M_X64)
#define MAMBA_X86 1
#include <xmmintrin.h>
#endif

extern const Kernels mamba_plain;
#if defined(MAMBA_X86)
extern const Kernels mamba_sse2, mamba_avx2, mamba_avx512;
#elif defined(__aarch64__) || defined(_M_ARM64)
extern const Kernels mamba_neon;
#endif

namespace {

#if defined(MAMBA_X86)
#if defined(_MSC_VER) && !defined(__clang__)
bool has_bits(int leaf, int word, unsigned bits) {
  int info[4];
  __cpuid(info, 0);
  if (info[0] < leaf) return false;
  __cpuidex(info, leaf, 0);
  return (static_cast<unsigned>(info[word]) & bits) == bits;
}
bool system_saves(unsigned bits) {  // the registers that the operating system keeps for a thread
  return has_bits(1, 2, 1u << 27) && (_xgetbv(0) & bits) == bits;
}
bool has_avx2() {
  return system_saves(0x6) && has_bits(1, 2, 1u << 12) && has_bits(7, 1, 1u << 5);
}
bool has_avx512() {
  return has_avx2() && system_saves(0xE6) && has_bits(7, 1, 1u << 16 | 1u << 17 | 1u << 31);
}
#else
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
#endif
#endif
bool always() { return true; }

struct Isa {
  const char* name;
  const Kernels* kernels;
  bool (*runs_here)();
};

// Best first.
const Isa ISAS[] = {
#if defined(MAMBA_X86)
    {"avx512", &mamba_avx512, has_avx512},
    {"avx2", &mamba_avx2, has_avx2},
    {"sse2", &mamba_sse2, always},
#elif defined(__aarch64__) || defined(_M_ARM64)
    {"neon", &mamba_neon, always},
#endif
    {"plain", &mamba_plain, always},
};

const Isa* best() {
  for (const Isa& isa : ISAS)
    if (isa.runs_here()) return &isa;
  return nullptr;
}
std::atomic<const Isa*> chosen{nullptr};
const Isa& current() {
  const Isa* isa = chosen.load();
  if (!isa) {
    isa = best();
    chosen.store(isa);
  }
  return *isa;
}

// Memory of one thread, on a cache line of its own.
class Scratch {
 public:
  explicit Scratch(int64_t floats)
      : memory_(malloc(static_cast<size_t>(floats) * sizeof(float) + 128)) {}
  ~Scratch() { free(memory_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  float* get() const {
    return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory_) + 63) & ~uintptr_t{63});
  }
  bool failed() const { return !memory_; }

 private:
  void* memory_;
};

// Results too small for a normal float become zero: a state decays through them, and each costs
// hundreds of cycles on some CPUs.
class FlushSmall {
 public:
#if defined(MAMBA_X86)
  FlushSmall() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040u); }
  ~FlushSmall() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#endif
};

constexpr int OK = 0, NO_MEMORY = 1, BAD_KERNEL = 2;

int work(const Kernel& kernel, const void* call, int64_t scratch, int64_t items,
         std::atomic<int64_t>* next) {
  const Scratch memory(scratch);
  if (memory.failed()) return NO_MEMORY;
  const FlushSmall flush;
  for (int64_t i; (i = next->fetch_add(1)) < items;) kernel.run(call, i, memory.get());
  return OK;
}

// Threads live for one call: that costs microseconds, and a process that forks keeps no pool that
// its child would wait for.
int execute(const Kernel& kernel, const void* call, int64_t threads) {
  int64_t items = 0, scratch = 0;
  kernel.plan(call, &items, &scratch);
  if (threads > items) threads = items;
  std::atomic<int64_t> next{0};
  if (threads <= 1) return work(kernel, call, scratch, items, &next);
  std::atomic<int> status{OK};
  const auto run = [&] {
    if (const int failed = work(kernel, call, scratch, items, &next)) status = failed;
  };
  std::vector<std::thread> helpers;
  try {
    helpers.reserve(static_cast<size_t>(threads));
    for (int64_t i = 1; i < threads; i++) helpers.emplace_back(run);
  } catch (...) {  // no further threads to be had: those that run do all the work
  }
  run();
  for (auto& helper : helpers) helper.join();
  return status;
}

}  // namespace

// Changes whenever abi.h does.
MAMBA_EXPORT int64_t mamba_native_version() { return 2; }

// Name of the i-th instruction set this CPU can run, best first; null behind the last.
MAMBA_EXPORT const char* mamba_native_isa(int i) {
  for (const Isa& isa : ISAS)
    if (isa.runs_here() && i-- == 0) return isa.name;
  return nullptr;
}

// Makes later calls use the named instruction set; false if it cannot run here.
MAMBA_EXPORT int mamba_native_use(const char* name) {
  for (const Isa& isa : ISAS) {
    if (strcmp(isa.name, name) == 0 && isa.runs_here()) {
      chosen.store(&isa);
      return 1;
    }
  }
  return 0;
}

MAMBA_EXPORT const char* mamba_native_in_use() { return current().name; }

// Whether every path reads each token of each sequence once.
MAMBA_EXPORT int mamba_native_order_is_good(const int64_t* order, int64_t rows, int64_t length,
                                            const int64_t* edges, int64_t sequences) {
  return order_is_good(order, rows, length, edges, sequences);
}

// Runs kernel number `which` of the table, in the order of struct Kernels.
MAMBA_EXPORT int mamba_native_run(int which, const void* call, int64_t threads) {
  constexpr int kernels = sizeof(Kernels) / sizeof(Kernel);
  if (which < 0 || which >= kernels) return BAD_KERNEL;
  return execute(reinterpret_cast<const Kernel*>(current().kernels)[which], call, threads);
}
