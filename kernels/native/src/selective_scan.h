// The selective scan of Mamba-1: W channels at a time, each lane one channel.
//
//   h_t = exp(dt_t A) h_{t-1} + dt_t u_t B_t,   y_t = C_t h_t + D u_t, gated by SiLU(z)
//
// Blocks of BLOCK steps are loaded as tiles in scan order, so strides, dtypes and orders matter
// only at their edges. Forward leaves the states between blocks for backward, which recomputes
// the others one n at a time in the first-level cache.
#pragma once

#include "functions.h"
#include "tile.h"

namespace {

constexpr int BLOCK = 64;
constexpr int TILE = BLOCK * W;

// Where an item of the scan works: one path of one batch item, up to W channels of one group.
struct Lanes {
  int64_t b, k, group, first;
  int channels;
};

MAMBA_INLINE int64_t lane_blocks(const SelectiveScan& a) {
  return a.groups * ceil_div(a.channels / a.groups, W);
}
MAMBA_INLINE Lanes lanes_of(const SelectiveScan& a, int64_t b, int64_t k, int64_t block) {
  const int64_t size = a.channels / a.groups, each = ceil_div(size, W);
  const int64_t start = (block % each) * W;
  return {b, k, block / each, (block / each) * size + start, static_cast<int>(least(W, size - start))};
}

MAMBA_INLINE View view_of(const Tensor& t, const Lanes& l) {
  const ptrdiff_t offset = l.b * t.stride[0] + l.k * t.stride[1] + l.first * t.stride[2];
  return {&t, offset, static_cast<ptrdiff_t>(t.stride[3]), static_cast<ptrdiff_t>(t.stride[2])};
}

// Per-channel parameter (k, d).
MAMBA_INLINE F parameter(const Tensor& t, const Lanes& l) {
  float value[W] = {};
  if (t.data)
    for (int c = 0; c < l.channels; c++)
      value[c] = get(t, l.k * t.stride[0] + (l.first + c) * t.stride[1]);
  return load(value);
}

// (n, lane) of a tensor (row, k, d, n); A has no row.
MAMBA_INLINE void load_states(float* to, const Tensor& t, int64_t row, const Lanes& l, int64_t n) {
  if (l.channels < W || !t.data) memset(to, 0, sizeof(float) * n * W);
  if (!t.data) return;
  for (int c = 0; c < l.channels; c++) {
    const ptrdiff_t at =
        row * t.stride[0] + l.k * t.stride[1] + (l.first + c) * t.stride[2];
    for (int64_t i = 0; i < n; i++) to[i * W + c] = get(t, at + i * t.stride[3]);
  }
}
MAMBA_INLINE void store_states(const float* from, const Tensor& t, int64_t row, const Lanes& l,
                               int64_t n) {
  if (!t.data) return;
  for (int c = 0; c < l.channels; c++) {
    const ptrdiff_t at =
        row * t.stride[0] + l.k * t.stride[1] + (l.first + c) * t.stride[2];
    for (int64_t i = 0; i < n; i++) put(t, at + i * t.stride[3], from[i * W + c]);
  }
}
MAMBA_INLINE void load_rates(float* to, const SelectiveScan& a, const Lanes& l) {
  Tensor t = a.A;
  for (int i = 3; i > 0; i--) t.stride[i] = t.stride[i - 1];
  load_states(to, t, 0, l, a.states);
}

// A row of states of `saved`: (n, d) at a slot.
MAMBA_INLINE float* slot_of(const SelectiveScan& a, const Lanes& l, int64_t slot) {
  const Tensor& t = a.saved;
  return reinterpret_cast<float*>(t.data) + l.b * t.stride[0] + l.k * t.stride[1] +
         slot * t.stride[2] + l.first;
}

// B and C of one (b, k, g) in scan order: rows of n from step 0.
struct Packed {
  const float *B, *C;
};
MAMBA_INLINE Packed packed_of(const SelectiveScan& a, const Lanes& l) {
  const int64_t size = a.length * a.states;
  const int64_t at = ((l.b * a.paths + l.k) * a.groups + l.group) * size;
  const float* base = reinterpret_cast<const float*>(a.packed.data);
  return {base + at, base + a.batch * a.paths * a.groups * size + at};
}

// Copies B and C into `packed`; an item is one (b, k, g).
static void scan_pack_plan(const void* call, int64_t* items, int64_t* scratch) {
  const auto& a = *static_cast<const SelectiveScan*>(call);
  *items = 2 * a.batch * a.paths * a.groups;
  *scratch = TILE;
}
static void scan_pack(const void* call, int64_t item, float* tile) {
  const auto& a = *static_cast<const SelectiveScan*>(call);
  const int64_t g = item % a.groups, k = item / a.groups % a.paths;
  const int64_t b = item / a.groups / a.paths % a.batch;
  const Tensor& t = item < a.batch * a.paths * a.groups ? a.B : a.C;
  float* to = reinterpret_cast<float*>(a.packed.data) + item * a.length * a.states;
  const ptrdiff_t base = b * t.stride[0] + k * t.stride[1] + g * t.stride[2];
  const int64_t* order = order_of(a.order, b, k);
  for (int64_t n = 0; n < a.states; n += W) {
    const int width = static_cast<int>(least(W, a.states - n));
    const View v = {&t, static_cast<ptrdiff_t>(base + n * t.stride[3]),
                    static_cast<ptrdiff_t>(t.stride[4]), static_cast<ptrdiff_t>(t.stride[3])};
    for (int64_t s = 0; s < a.length; s += BLOCK) {
      const int count = static_cast<int>(least(BLOCK, a.length - s));
      load_block(tile, W, v, span_of(order, s, count), width);
      for (int i = 0; i < count; i++)
        store_n(to + (s + i) * a.states + n, load(tile + i * W), width);
    }
  }
}

// Loads a block's u and finished step sizes; `slope`, if given, becomes softplus' derivative.
MAMBA_INLINE void load_steps(const SelectiveScan& a, const Lanes& l, const Span& s, F bias, float* u,
                             float* dt, float* slope) {
  load_block(u, W, view_of(a.u, l), s, l.channels);
  load_block(dt, W, view_of(a.delta, l), s, l.channels);
  for (int i = 0; i < s.count * W; i += W) {
    const F raw = load(dt + i) + bias;
    if (a.softplus) {
      const Softplus soft = softplus(raw);
      store(dt + i, soft.value);
      if (slope) store(slope + i, soft.slope);
    } else {
      store(dt + i, raw);
      if (slope) store(slope + i, set1(1.0f));
    }
  }
}

// Asks for the rows of the next block, a line or two at each step of this one: rows far apart defeat
// the hardware's own prefetching, and all their lines at once fill its queues.
class Ahead {
 public:
  void add(const View& v, const Span& s, int channels) {
    if (v.time != 1 || !s.step || s.count <= 0 || !v.present()) return;
    const ptrdiff_t size = item_size(*v.tensor);
    rows_[rows_known_++] = {address(*v.tensor, v.offset + s.lowest()), v.channel * size, channels,
                            static_cast<int>(ceil_div(s.count * size, LINE))};
  }
  inline void fetch(int step) const {
#if defined(__GNUC__) || defined(__clang__)
    const int channel = step % W, line = step / W;
    for (int i = 0; i < rows_known_; i++) {
      const Rows& r = rows_[i];
      if (channel < r.channels && line < r.lines)
        __builtin_prefetch(r.first + channel * r.stride + line * LINE);
    }
#else
    (void)step;
#endif
  }

 private:
  static constexpr int LINE = 64;  // bytes
  struct Rows {
    const char* first;
    ptrdiff_t stride;
    int channels, lines;
  };
  Rows rows_[4];
  int rows_known_ = 0;
};

// Whether all |dt rates| are so small that exp2_small will do; false where there is a NaN.
MAMBA_INLINE bool all_small(int count, int64_t n, const float* rates, const float* dt) {
#if defined(MAMBA_ISA_AVX512)
  return true;  // there both are the same
#endif
  F rate = F::zero(), step = F::zero(), sum = F::zero();
  for (int64_t i = 0; i < n; i++) {
    rate = max(rate, abs(load(rates + i * W)));
    sum = sum + load(rates + i * W);
  }
  for (int t = 0; t < count; t++) {
    step = max(step, abs(load(dt + t * W)));
    sum = sum + load(dt + t * W);
  }
  float largest[W], any[W];
  store(largest, rate * step);
  store(any, sum);
  for (int c = 0; c < W; c++)
    if (!(largest[c] <= 126.0f) || any[c] != any[c]) return false;
  return true;
}

// y[t] = sum over n of C h, moving h on; N is the number of states where it is known. SMALL: see
// all_small.
template <int N, bool SMALL>
MAMBA_INLINE void run_block(int count, int64_t states, const float* MAMBA_RESTRICT rates,
                            float* MAMBA_RESTRICT h, const float* MAMBA_RESTRICT dt,
                            const float* MAMBA_RESTRICT u, const float* MAMBA_RESTRICT B,
                            const float* MAMBA_RESTRICT C, float* MAMBA_RESTRICT y,
                            const Ahead& ahead) {
  const int64_t size = N ? N : states;
  for (int t = 0; t < count; t++) {
    ahead.fetch(t);
    const F step = load(dt + t * W), input = step * load(u + t * W);
    F sum = F::zero();
    MAMBA_UNROLL
    for (int64_t n = 0; n < size; n++) {
      const F log2 = step * load(rates + n * W), decay = SMALL ? exp2_small(log2) : exp2(log2);
      const F next = fma(decay, load(h + n * W), input * set1(B[n]));
      store(h + n * W, next);
      sum = fma(next, set1(C[n]), sum);
    }
    store(y + t * W, sum);
    B += size;
    C += size;
  }
}

static void scan_forward_plan(const void* call, int64_t* items, int64_t* scratch) {
  const auto& a = *static_cast<const SelectiveScan*>(call);
  *items = a.batch * a.paths * lane_blocks(a);
  *scratch = 4 * TILE + 2 * a.states * W;
}
static void scan_forward(const void* call, int64_t item, float* scratch) {
  const auto& a = *static_cast<const SelectiveScan*>(call);
  const int64_t blocks = lane_blocks(a), n = a.states;
  const Lanes l = lanes_of(a, item / blocks / a.paths, item / blocks % a.paths, item % blocks);
  float *u = scratch, *dt = u + TILE, *y = dt + TILE, *z = y + TILE;
  float *rates = z + TILE, *h = rates + n * W;
  load_rates(rates, a, l);
  for (int64_t i = 0; i < n * W; i += W) store(rates + i, load(rates + i) * set1(LOG2E));
  const F bias = parameter(a.delta_bias, l), skip = parameter(a.D, l);
  const Packed p = packed_of(a, l);
  const int64_t* order = order_of(a.order, l.b, l.k);
  int64_t slot = 0;
  for (int64_t s = 0; s < a.sequences; s++) {
    const int64_t row = a.sequences == 1 ? l.b : s, start = edge(a.edges, s);
    const int64_t end = edge(a.edges, s + 1);
    load_states(h, a.initial, row, l, n);
    for (int64_t t = start; t < end; t += BLOCK) {
      const Span span = span_of(order, t, least(BLOCK, end - t));
      if (a.saved.data && t > start) {
        float* to = slot_of(a, l, slot++);
        for (int64_t i = 0; i < n; i++) store_n(to + i * a.channels, load(h + i * W), l.channels);
      }
      load_steps(a, l, span, bias, u, dt, nullptr);
      if (a.z.data) load_block(z, W, view_of(a.z, l), span, l.channels);
      const Span next = span_of(order, t + BLOCK, least(BLOCK, end - t - BLOCK));
      Ahead ahead;
      ahead.add(view_of(a.u, l), next, l.channels);
      ahead.add(view_of(a.delta, l), next, l.channels);
      ahead.add(view_of(a.z, l), next, l.channels);
      ahead.add(view_of(a.out, l), next, l.channels);
      const float *B = p.B + t * n, *C = p.C + t * n;
      const bool small = all_small(span.count, n, rates, dt);
      if (n == 16 && small) {
        run_block<16, true>(span.count, n, rates, h, dt, u, B, C, y, ahead);
      } else if (small) {
        run_block<0, true>(span.count, n, rates, h, dt, u, B, C, y, ahead);
      } else {
        run_block<0, false>(span.count, n, rates, h, dt, u, B, C, y, ahead);
      }
      for (int i = 0; i < span.count * W; i += W) {
        F value = fma(skip, load(u + i), load(y + i));
        if (a.z.data) {
          const F gate = load(z + i);
          value = value * gate * sigmoid(gate);
        }
        store(y + i, value);
      }
      store_block(y, W, view_of(a.out, l), span, l.channels, false);
    }
    store_states(h, a.last, row, l, n);
  }
}

}  // namespace
