// F: one vector of W floats of the instruction set this file is compiled for (MAMBA_ISA_*).
//
// Included only by isa.cpp, once per instruction set. Everything is in an unnamed namespace: a
// symbol that the linker merges could carry wide instructions to a CPU that lacks them.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(MAMBA_ISA_AVX512) || defined(MAMBA_ISA_AVX2)
#include <immintrin.h>
#elif defined(MAMBA_ISA_SSE2)
#include <emmintrin.h>
#include <xmmintrin.h>
#elif defined(MAMBA_ISA_NEON)
#include <arm_neon.h>
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define MAMBA_INLINE static __forceinline
#define MAMBA_RESTRICT __restrict
#define MAMBA_UNROLL
#else
#define MAMBA_INLINE static inline __attribute__((always_inline))
#define MAMBA_RESTRICT __restrict__
#define MAMBA_UNROLL _Pragma("GCC unroll 8")
#endif

namespace {

// Each block below defines, besides arithmetic:
//   max(lo, x), min(hi, x)   x where x is NaN
//   add_exponent(p, a)       p with the last bits of a added to its exponent; or, instead, what is
//                            made of it below: Split and the three functions of it
//   blend(x, a, b)           a where x >= 0, else b
//   transpose(v)             v holds W vectors: lane i of v[k] and lane k of v[i] change places
//   lane_sums(v)             lane i = sum of the lanes of v[i]; v holds W vectors and is overwritten
#if defined(MAMBA_ISA_AVX512)
#include "simd_avx512.h"
#elif defined(MAMBA_ISA_AVX2)
#include "simd_avx2.h"
#elif defined(MAMBA_ISA_SSE2)
#include "simd_sse2.h"
#elif defined(MAMBA_ISA_NEON)
#include "simd_neon.h"
#else
#include "simd_plain.h"
#endif

constexpr int W = F::width;

MAMBA_INLINE F operator-(F a) { return F::zero() - a; }

#if !defined(MAMBA_ISA_AVX512)
// x as whole + fraction, the fraction within 1/2: 2^x = scale(2^fraction, split(x)).
struct Split {
  F fraction, power;  // 2^whole; 0 below -126, infinite above 127
};
// So large that the last bit of a sum with it counts ones.
constexpr float ROUNDER = 12582912.0f;
MAMBA_INLINE Split split(F x) {
  x = min(set1(128.0f), max(set1(-127.0f), x));
  const F rounder = set1(ROUNDER + 127.0f), sum = x + rounder;  // its last bits: an exponent field
  return {x - (sum - rounder), add_exponent(F::zero(), sum)};
}
MAMBA_INLINE F scale(F p, Split s) { return p * s.power; }
// The same where |x| <= 126, for less; `power` is another thing then.
MAMBA_INLINE Split split_small(F x) {
  const F sum = x + set1(ROUNDER);
  return {x - (sum - set1(ROUNDER)), sum};
}
MAMBA_INLINE F scale_small(F p, Split s) { return add_exponent(p, s.power); }
#endif

// W rows of a matrix, s apart, as columns and back: o[k] lane i = p[i s + k]; n: of k < n. Whole lines
// of the cache at once: rows at a power of two apart throw each other out of it.
MAMBA_INLINE void load_rows(const float* p, ptrdiff_t s, F* o) {
  for (int i = 0; i < W; i++) o[i] = load(p + i * s);
  transpose(o);
}
MAMBA_INLINE void load_rows_n(const float* p, ptrdiff_t s, int n, F* o) {
  for (int i = 0; i < W; i++) o[i] = load_n(p + i * s, n);
  transpose(o);
}
MAMBA_INLINE void store_rows(float* p, ptrdiff_t s, F* o) {  // overwrites o, as the next
  transpose(o);
  for (int i = 0; i < W; i++) store(p + i * s, o[i]);
}
MAMBA_INLINE void store_rows_n(float* p, ptrdiff_t s, int n, F* o) {
  transpose(o);
  for (int i = 0; i < W; i++) store_n(p + i * s, o[i], n);
}

}  // namespace
