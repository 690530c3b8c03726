// The gated RMS norm of Mamba-2, row by row: RMSNorm(x SiLU(z)) w + b, or (RMSNorm(x) w + b) SiLU(z).
#pragma once

#include "functions.h"
#include "tile.h"

namespace {

// `count` numbers of a row (d).
static void load_row(float* to, const Tensor& t, int64_t row, int64_t count) {
  const View v = {&t, static_cast<ptrdiff_t>(row * t.stride[0]), 0,
                  static_cast<ptrdiff_t>(t.stride[1])};
  const Span one = {nullptr, 0, 1, 1};
  if (t.dtype == FLOAT32) {
    load_any<Float32>(to, 0, v, one, static_cast<int>(count));
  } else if (t.dtype == BFLOAT16) {
    load_any<Bfloat16>(to, 0, v, one, static_cast<int>(count));
  } else {
    load_any<Float16>(to, 0, v, one, static_cast<int>(count));
  }
}
static void store_row(const float* from, const Tensor& t, int64_t row, int64_t count) {
  char* base = address(t, row * t.stride[0]);
  if (t.dtype == FLOAT32) {
    memcpy(base, from, sizeof(float) * count);
    return;
  }
  uint16_t* to = reinterpret_cast<uint16_t*>(base);
  const bool brain = t.dtype == BFLOAT16;
  for (int64_t i = 0; i < count; i++) to[i] = brain ? to_bfloat16(from[i]) : to_float16(from[i]);
}

// Rows of one item, and its memory: whole vectors, and one more for the last group's tail.
struct NormRows {
  float *x, *z, *w, *b, *dout, *dx, *dz;
  int64_t first, last;
  static int64_t floats(const Norm& a) { return 7 * (ceil_div(a.channels, W) + 1) * W; }
  static NormRows at(const Norm& a, int64_t item, float* s) {
    const int64_t row = (ceil_div(a.channels, W) + 1) * W;
    NormRows m = {s,           s + row,     s + 2 * row, s + 3 * row,
                  s + 4 * row, s + 5 * row, s + 6 * row, a.rows * item / a.shards,
                  a.rows * (item + 1) / a.shards};
    load_row(m.w, a.weight, 0, a.channels);
    memset(m.b, 0, sizeof(float) * a.channels);
    if (a.bias.data) load_row(m.b, a.bias, 0, a.channels);
    return m;
  }
};

// Calls body(offset, lanes) for the vectors of a group.
template <class Body>
MAMBA_INLINE void for_group(int64_t from, int64_t size, Body body) {
  int64_t c = from;
  for (; c + W <= from + size; c += W) body(c, W);
  if (c < from + size) body(c, static_cast<int>(from + size - c));
}

// 1 / rms of a group of `value`.
MAMBA_INLINE F inverse_rms(const float* value, int64_t from, int64_t size, double eps) {
  F sum = F::zero();
  for_group(from, size, [&](int64_t c, int n) {
    const F v = n == W ? load(value + c) : load_n(value + c, n);
    sum = fma(v, v, sum);
  });
  const float mean = total(sum) / static_cast<float>(size) + static_cast<float>(eps);
  return set1(1.0f) / square_root(set1(mean));
}

static void norm_forward_plan(const void* call, int64_t* items, int64_t* scratch) {
  const auto& a = *static_cast<const Norm*>(call);
  *items = a.shards;
  *scratch = NormRows::floats(a);
}
static void norm_forward(const void* call, int64_t item, float* scratch) {
  const auto& a = *static_cast<const Norm*>(call);
  const NormRows m = NormRows::at(a, item, scratch);
  const bool gated = a.z.data != 0;
  for (int64_t r = m.first; r < m.last; r++) {
    load_row(m.x, a.x, r, a.channels);
    if (gated) {
      load_row(m.z, a.z, r, a.channels);
      for_group(0, a.channels, [&](int64_t c, int) {
        const F z = load(m.z + c), gate = z * sigmoid(z);
        store(m.z + c, gate);
        if (!a.norm_before_gate) store(m.x + c, load(m.x + c) * gate);
      });
    }
    for (int64_t from = 0; from < a.channels; from += a.group_size) {
      const F inverse = inverse_rms(m.x, from, a.group_size, a.eps);
      for_group(from, a.group_size, [&](int64_t c, int n) {
        F y = fma(load(m.x + c) * inverse, load(m.w + c), load(m.b + c));
        if (gated && a.norm_before_gate) y = y * load(m.z + c);
        store_n(m.dx + c, y, n);
      });
    }
    store_row(m.dx, a.out, r, a.channels);
  }
}

// One group of a row: reads x, z, dout; writes dx, dz; adds to the sums of the weights.
static void backward_group(const Norm& a, const NormRows& m, int64_t from, float* dw, float* db) {
  const bool gated = a.z.data != 0, gate_first = gated && !a.norm_before_gate;
  const int64_t size = a.group_size;
  for_group(from, size, [&](int64_t c, int n) {  // dx holds what is normed, for the moment
    const F z = gated ? load(m.z + c) : F::zero();
    store_n(m.dx + c, gate_first ? load(m.x + c) * z * sigmoid(z) : load(m.x + c), n);
  });
  const F inverse = inverse_rms(m.dx, from, size, a.eps);
  F along = F::zero();
  for_group(from, size, [&](int64_t c, int n) {
    const F normed = load(m.dx + c) * inverse, w = load(m.w + c);
    F grad = load(m.dout + c);
    if (gated && a.norm_before_gate) {
      const F z = load(m.z + c), s = sigmoid(z);
      store_n(m.dz + c, grad * silu_slope(z, s) * fma(normed, w, load(m.b + c)), n);
      grad = grad * z * s;
    }
    store_n(dw + c, fma(grad, normed, load_n(dw + c, n)), n);
    if (db) store_n(db + c, grad + load_n(db + c, n), n);
    const F inner = grad * w;
    store_n(m.dout + c, inner, n);
    store_n(m.dx + c, normed, n);
    // read back: lanes behind the group hold whatever was there, perhaps no number at all
    along = fma(load_n(m.dout + c, n), load_n(m.dx + c, n), along);
  });
  const F mean = set1(total(along) / static_cast<float>(size));
  for_group(from, size, [&](int64_t c, int n) {
    F grad = (load(m.dout + c) - load(m.dx + c) * mean) * inverse;
    if (gate_first) {
      const F z = load(m.z + c), s = sigmoid(z);
      store_n(m.dz + c, grad * load(m.x + c) * silu_slope(z, s), n);
      grad = grad * z * s;
    }
    store_n(m.dx + c, grad, n);
  });
}

static void norm_backward(const void* call, int64_t item, float* scratch) {
  const auto& a = *static_cast<const Norm*>(call);
  const NormRows m = NormRows::at(a, item, scratch);
  float* dw = reinterpret_cast<float*>(a.dweight.data) + item * a.channels;
  float* db = a.dbias.data ? reinterpret_cast<float*>(a.dbias.data) + item * a.channels : nullptr;
  memset(dw, 0, sizeof(float) * a.channels);
  if (db) memset(db, 0, sizeof(float) * a.channels);
  for (int64_t r = m.first; r < m.last; r++) {
    load_row(m.x, a.x, r, a.channels);
    load_row(m.dout, a.dout, r, a.channels);
    if (a.z.data) load_row(m.z, a.z, r, a.channels);
    for (int64_t from = 0; from < a.channels; from += a.group_size)
      backward_group(a, m, from, dw, db);
    store_row(m.dx, a.dx, r, a.channels);
    if (a.z.data) store_row(m.dz, a.dz, r, a.channels);
  }
}

}  // namespace
