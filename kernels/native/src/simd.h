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
//   scale(p, n)              p 2^n for integral n in [-127, 128]; infinite at 128
//   blend(x, a, b)           a where x >= 0, else b
//   load_rows4(p, s, o)      o[k] lane i = p[i s + k]: W rows, four columns
//   store_rows4(p, s, o)     the inverse
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

}  // namespace
