// Products of small matrices that lie in the cache: c = beta c + a b, with c and b in rows of whole
// vectors and a read element by element, so that it may be transposed at no cost.
#pragma once

#include "simd.h"

namespace {

// A matrix read by elements: (m, k) is at data[m * row + k * column].
struct Left {
  const float* data;
  ptrdiff_t row, column;
};
// A matrix in rows of whole vectors.
struct Rows {
  const float* data;
  ptrdiff_t row;
};

// Which part of `a` is not zero, for square ones.
enum Part { WHOLE, LOWER, UPPER };  // LOWER: k <= m. UPPER: k >= m.

#if defined(MAMBA_ISA_AVX512) || defined(MAMBA_ISA_NEON)
constexpr int WIDE = 4;  // vectors of c side by side in registers: there are 32 of them
#else
constexpr int WIDE = 2;
#endif

template <int MR, int NV>
MAMBA_INLINE void gemm_tile(int64_t depth, Left a, Rows b, float* c, ptrdiff_t row, float beta) {
  F sum[MR][NV];
  for (int i = 0; i < MR; i++)
    for (int j = 0; j < NV; j++) sum[i][j] = F::zero();
  for (int64_t k = 0; k < depth; k++) {
    F right[NV];
    for (int j = 0; j < NV; j++) right[j] = load(b.data + j * W);
    for (int i = 0; i < MR; i++) {
      const F left = set1(a.data[i * a.row]);
      for (int j = 0; j < NV; j++) sum[i][j] = fma(left, right[j], sum[i][j]);
    }
    a.data += a.column;
    b.data += b.row;
  }
  for (int i = 0; i < MR; i++) {
    for (int j = 0; j < NV; j++) {
      float* to = c + i * row + j * W;
      // added last: a large c, a state of long memory, is rounded once and not at every term
      store(to, beta == 0 ? sum[i][j] : fma(load(to), set1(beta), sum[i][j]));
    }
  }
}

template <int NV, int MR>
MAMBA_INLINE void gemm_column(Part part, int64_t rows, int64_t depth, Left a, Rows b, float* c,
                              ptrdiff_t row, float beta) {
  for (int64_t m = 0; m < rows; m += MR) {
    const int64_t from = part == UPPER ? m : 0;
    const int64_t to = part == LOWER && m + MR < depth ? m + MR : depth;
    gemm_tile<MR, NV>(to - from, {a.data + m * a.row + from * a.column, a.row, a.column},
                      {b.data + from * b.row, b.row}, c + m * row, row, beta);
  }
}

// c (rows, columns) = beta c + a (rows, depth) b (depth, columns). `rows` is a multiple of 4,
// `columns` of W. With beta 0 whatever c holds is ignored, even NaN.
static void gemm(Part part, int64_t rows, int64_t columns, int64_t depth, Left a, Rows b, float* c,
                 ptrdiff_t row, float beta) {
  int64_t n = 0;
  for (; n + WIDE * W <= columns; n += WIDE * W)
    gemm_column<WIDE, 4>(part, rows, depth, a, {b.data + n, b.row}, c + n, row, beta);
  if (WIDE == 4 && n + 2 * W <= columns) {
    const Rows here = {b.data + n, b.row};
    if (rows % 8 == 0) {
      gemm_column<2, 8>(part, rows, depth, a, here, c + n, row, beta);
    } else {
      gemm_column<2, 4>(part, rows, depth, a, here, c + n, row, beta);
    }
    n += 2 * W;
  }
  if (n < columns) {
    const Rows here = {b.data + n, b.row};
    if (rows % 8 == 0) {
      gemm_column<1, 8>(part, rows, depth, a, here, c + n, row, beta);
    } else {
      gemm_column<1, 4>(part, rows, depth, a, here, c + n, row, beta);
    }
  }
}

// to (columns, rows) = from (rows, columns); both counts are multiples of W.
static void transpose(int64_t rows, int64_t columns, const float* from, ptrdiff_t from_row, float* to,
                      ptrdiff_t to_row) {
  for (int64_t r = 0; r < rows; r += W) {
    for (int64_t c = 0; c < columns; c += W) {
      F v[W];
      load_rows(from + r * from_row + c, from_row, v);
      for (int i = 0; i < W; i++) store(to + (c + i) * to_row + r, v[i]);
    }
  }
}

}  // namespace
