// SSD, the scan of Mamba-2, by small matrix products on chunks of 16 steps.
//
//   h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t^T,   y_t = h_t C_t + D x_t, times SiLU(z)
//
// Inside a chunk, with S the state before it, L_ij the decay from after step j to after step i,
// E_i that from the chunk's start to after step i and W_j that from after step j to its end:
//
//   Y = E (C S) + M (dt x)   with M = (C B^T) * L,      S' = E_end S + B^T (W dt x)
//
// States are (n, p) with the head's channels in vectors. A span of SPAN steps shares B, C and
// C B^T among the heads of an item. A chunk's missing steps have size 0 and change nothing.
#pragma once

#include "functions.h"
#include "gemm.h"
#include "tile.h"

namespace {

constexpr int CHUNK = 16;
constexpr int SPAN = 128;
constexpr int SQUARE = CHUNK * CHUNK;

MAMBA_INLINE int64_t whole_vectors(int64_t n) { return ceil_div(n, W) * W; }

// Padded sizes of a state.
struct StateSize {
  int64_t n, p;
  int64_t size() const { return n * p; }
};
MAMBA_INLINE StateSize state_size(const Ssd& a) {
  return {whole_vectors(a.states), whole_vectors(a.width)};
}

// The heads an item computes, all of one group and one batch item.
struct Heads {
  int64_t b, group, first, count, shard;
};
MAMBA_INLINE Heads heads_of(const Ssd& a, int64_t item) {
  const int64_t shard = item % a.shards, group = item / a.shards % a.groups;
  const int64_t each = a.heads / a.groups;
  const int64_t first = each * shard / a.shards, last = each * (shard + 1) / a.shards;
  return {item / a.shards / a.groups, group, group * each + first, last - first, shard};
}

// A state (n, p) from and to a tensor (r, k, h, p, n).
static void load_state(float* to, const Tensor& t, int64_t row, int64_t k, int64_t h, const Ssd& a) {
  const StateSize s = state_size(a);
  memset(to, 0, sizeof(float) * s.size());
  if (!t.data) return;
  const ptrdiff_t at = row * t.stride[0] + k * t.stride[1] + h * t.stride[2];
  for (int64_t p = 0; p < a.width; p++)
    for (int64_t n = 0; n < a.states; n++)
      to[n * s.p + p] = get(t, at + p * t.stride[3] + n * t.stride[4]);
}
static void store_state(const float* from, const Tensor& t, int64_t row, int64_t k, int64_t h,
                        const Ssd& a) {
  if (!t.data) return;
  const StateSize s = state_size(a);
  const ptrdiff_t at = row * t.stride[0] + k * t.stride[1] + h * t.stride[2];
  for (int64_t p = 0; p < a.width; p++)
    for (int64_t n = 0; n < a.states; n++)
      put(t, at + p * t.stride[3] + n * t.stride[4], from[n * s.p + p]);
}

// A state in `saved`: (n, p) without padding.
MAMBA_INLINE float* saved_state(const Ssd& a, int64_t b, int64_t k, int64_t slot, int64_t h) {
  const Tensor& t = a.saved;
  return reinterpret_cast<float*>(t.data) + b * t.stride[0] + k * t.stride[1] +
         slot * t.stride[2] + h * t.stride[3];
}
static void save_state(const float* from, float* to, const Ssd& a) {
  const StateSize s = state_size(a);
  for (int64_t n = 0; n < a.states; n++)
    memcpy(to + n * a.width, from + n * s.p, sizeof(float) * a.width);
}
static void restore_state(float* to, const float* from, const Ssd& a) {
  const StateSize s = state_size(a);
  memset(to, 0, sizeof(float) * s.size());
  for (int64_t n = 0; n < a.states; n++)
    memcpy(to + n * s.p, from + n * a.width, sizeof(float) * a.width);
}

// `width` channels as a padded tile of whole chunks: the missing channels and steps are 0.
static void load_wide(float* tile, View v, const Span& s, int64_t width) {
  const int64_t ld = whole_vectors(width), rows = ceil_div(s.count, CHUNK) * CHUNK;
  for (int64_t c = 0; c < width; c += W) {
    load_block(tile + c, static_cast<int>(ld), v, s, static_cast<int>(least(W, width - c)));
    v.offset += W * v.channel;
  }
  memset(tile + s.count * ld, 0, sizeof(float) * (rows - s.count) * ld);
}
static void store_wide(const float* tile, View v, const Span& s, int64_t width, bool add) {
  const int64_t ld = whole_vectors(width);
  for (int64_t c = 0; c < width; c += W) {
    store_block(tile + c, static_cast<int>(ld), v, s, static_cast<int>(least(W, width - c)), add);
    v.offset += W * v.channel;
  }
}

MAMBA_INLINE View head_view(const Tensor& t, int64_t b, int64_t k, int64_t h) {
  const ptrdiff_t offset = b * t.stride[0] + k * t.stride[1] + h * t.stride[3];
  return {&t, offset, static_cast<ptrdiff_t>(t.stride[2]), static_cast<ptrdiff_t>(t.stride[4])};
}

// What the heads of an item share in a span.
struct Shared {
  float *B, *C;    // (SPAN, n)
  float *BT, *CT;  // (n, CHUNK) for each chunk
  float* CB;       // (CHUNK, CHUNK) for each chunk
  static int64_t floats(int64_t n) { return 4 * SPAN * n + SPAN * CHUNK; }
  static Shared at(float* s, int64_t n) {
    const int64_t one = SPAN * n;
    return {s, s + one, s + 2 * one, s + 3 * one, s + 4 * one};
  }
};
static void load_shared(const Shared& m, const Ssd& a, int64_t b, int64_t k, int64_t group,
                        const Span& s) {
  const int64_t n = state_size(a).n;
  load_wide(m.B, head_view(a.B, b, k, group), s, a.states);
  load_wide(m.C, head_view(a.C, b, k, group), s, a.states);
  for (int64_t t = 0; t < s.count; t += CHUNK) {
    transpose(CHUNK, n, m.B + t * n, n, m.BT + t * n, CHUNK);
    transpose(CHUNK, n, m.C + t * n, n, m.CT + t * n, CHUNK);
    gemm(WHOLE, CHUNK, CHUNK, n, {m.C + t * n, n, 1}, {m.BT + t * n, CHUNK}, m.CB + t * CHUNK, CHUNK,
         0);
  }
}

// Step sizes of one head in a span, whole chunks.
struct Steps {
  float dt[SPAN], slope[SPAN];
};
static void load_steps(Steps* m, const Ssd& a, int64_t b, int64_t k, int64_t h, const Span& s,
                       float bias) {
  const Tensor& t = a.dt;
  const ptrdiff_t base = b * t.stride[0] + k * t.stride[1] + h * t.stride[3];
  for (int i = 0; i < s.count; i++) m->dt[i] = get(t, base + s.token(i) * t.stride[2]);
  const int rows = static_cast<int>(ceil_div(s.count, CHUNK)) * CHUNK;
  for (int i = s.count; i < rows; i++) m->dt[i] = 0;
  const F low = set1(static_cast<float>(a.dt_min)), high = set1(static_cast<float>(a.dt_max));
  for (int i = 0; i < rows; i += W) {
    Softplus v = {load(m->dt + i) + set1(bias), set1(1.0f)};
    if (a.softplus) v = softplus(v.value);
    const F inside = blend(v.value - low, blend(high - v.value, v.slope, F::zero()), F::zero());
    store(m->slope + i, inside);
    store(m->dt + i, min(high, max(low, v.value)));
  }
  for (int i = s.count; i < rows; i++) m->dt[i] = m->slope[i] = 0;
}

// The decays of one chunk.
struct Decays {
  float L[SQUARE];  // from after step j (lane) to after step i (row); 0 where i < j
  float E[CHUNK];   // from the start to after step i
  float W_[CHUNK];  // from after step j to the end: L's last row
  float whole;
};
static void make_decays(Decays* m, const float* dt, float rate) {
  // Sums of exactly the steps in between: differences of sums over the chunk would cancel.
  static const float ramp[2 * CHUNK] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  F sum[CHUNK / W];
  for (int j = 0; j < CHUNK / W; j++) sum[j] = F::zero();
  float from_start = 0;
  for (int i = 0; i < CHUNK; i++) {
    const float log2 = dt[i] * rate * LOG2E, step = log2 < -1e4f ? -1e4f : log2;
    from_start += step;
    m->E[i] = from_start;
    for (int j = 0; j < CHUNK / W; j++) {
      const F past = load(ramp + CHUNK - i + j * W), now = load(ramp + CHUNK - 1 - i + j * W);
      sum[j] = fma(set1(step), past, sum[j]);
      store(m->L + i * CHUNK + j * W, exp2(sum[j]) * now);
    }
  }
  for (int j = 0; j < CHUNK; j += W) {
    store(m->E + j, exp2(load(m->E + j)));
    store(m->W_ + j, load(m->L + (CHUNK - 1) * CHUNK + j));
  }
  m->whole = m->E[CHUNK - 1];
}

// to[i] = from[i] * factor[i] for the rows of a chunk.
MAMBA_INLINE void scale_rows(float* to, const float* from, const float* factor, int64_t width) {
  for (int i = 0; i < CHUNK; i++) {
    const F f = set1(factor[i]);
    for (int64_t p = 0; p < width; p += W) store(to + i * width + p, load(from + i * width + p) * f);
  }
}

// Y (CHUNK, p) of a chunk, without skip and gate. `M` receives the mixing matrix.
static void chunk_outputs(const StateSize& s, const Shared& m, int64_t t, const Decays& d,
                          const float* inputs, const float* S, float* M, float* Y) {
  for (int i = 0; i < SQUARE; i += W) store(M + i, load(m.CB + t * CHUNK + i) * load(d.L + i));
  gemm(WHOLE, CHUNK, s.p, s.n, {m.C + t * s.n, static_cast<ptrdiff_t>(s.n), 1}, {S, s.p}, Y, s.p, 0);
  scale_rows(Y, Y, d.E, s.p);
  gemm(LOWER, CHUNK, s.p, CHUNK, {M, CHUNK, 1}, {inputs, s.p}, Y, s.p, 1);
}

// S' from S: `to` may be S. `work` holds (CHUNK, p).
static void chunk_state(const StateSize& s, const Shared& m, int64_t t, const Decays& d,
                        const float* inputs, float* S, float* work) {
  scale_rows(work, inputs, d.W_, s.p);
  gemm(WHOLE, s.n, s.p, CHUNK, {m.B + t * s.n, 1, static_cast<ptrdiff_t>(s.n)}, {work, s.p}, S, s.p,
       d.whole);
}

// Per-head parameter (k, h), and the row of D (k, h, p).
MAMBA_INLINE float head_value(const Tensor& t, int64_t k, int64_t h) {
  return t.data ? get(t, k * t.stride[0] + h * t.stride[1]) : 0.0f;
}
static void load_skip(float* to, const Ssd& a, int64_t k, int64_t h) {
  const int64_t width = state_size(a).p;
  for (int64_t p = 0; p < width; p++) {
    const bool there = a.D.data && p < a.width;
    to[p] = there ? get(a.D, k * a.D.stride[0] + h * a.D.stride[1] + p * a.D.stride[2]) : 0.0f;
  }
}

// One span of one head, moving its state S on.
static void forward_span(const Ssd& a, int64_t b, int64_t k, int64_t h, const Span& span,
                         const Shared& shared, float* S, float* scratch) {
  const StateSize s = state_size(a);
  const int64_t tile = SPAN * s.p;
  float *x = scratch, *inputs = x + tile, *y = inputs + tile, *z = y + tile, *skip = z + tile;
  float *M = skip + s.p, *work = M + SQUARE;
  Steps steps;
  Decays decays;
  load_steps(&steps, a, b, k, h, span, head_value(a.dt_bias, k, h));
  load_wide(x, head_view(a.x, b, k, h), span, a.width);
  if (a.z.data) load_wide(z, head_view(a.z, b, k, h), span, a.width);
  load_skip(skip, a, k, h);
  const float rate = head_value(a.A, k, h);
  for (int t = 0; t < span.count; t += CHUNK) {
    make_decays(&decays, steps.dt + t, rate);
    scale_rows(inputs, x + t * s.p, steps.dt + t, s.p);
    chunk_outputs(s, shared, t, decays, inputs, S, M, y + t * s.p);
    chunk_state(s, shared, t, decays, inputs, S, work);
  }
  for (int64_t i = 0; i < span.count; i++) {
    for (int64_t p = 0; p < s.p; p += W) {
      F value = fma(load(skip + p), load(x + i * s.p + p), load(y + i * s.p + p));
      if (a.z.data) {
        const F gate = load(z + i * s.p + p);
        value = value * gate * sigmoid(gate);
      }
      store(y + i * s.p + p, value);
    }
  }
  store_wide(y, head_view(a.out, b, k, h), span, a.width, false);
}

MAMBA_INLINE int64_t most_heads(const Ssd& a) { return ceil_div(a.heads / a.groups, a.shards); }

static void ssd_forward_plan(const void* call, int64_t* items, int64_t* scratch) {
  const auto& a = *static_cast<const Ssd*>(call);
  const StateSize s = state_size(a);
  *items = a.batch * a.paths * a.groups * a.shards;
  *scratch = Shared::floats(s.n) + most_heads(a) * s.size() + 4 * SPAN * s.p + s.p + SQUARE +
             CHUNK * s.p;
}
static void ssd_forward(const void* call, int64_t item, float* scratch) {
  const auto& a = *static_cast<const Ssd*>(call);
  const StateSize size = state_size(a);
  const int64_t k = item % a.paths;
  const Heads heads = heads_of(a, item / a.paths);
  const Shared shared = Shared::at(scratch, size.n);
  float *states = scratch + Shared::floats(size.n), *rest = states + most_heads(a) * size.size();
  const int64_t* order = order_of(a.order, heads.b, k);
  int64_t slot = 0;
  for (int64_t s = 0; s < a.sequences; s++) {
    const int64_t row = a.sequences == 1 ? heads.b : s, start = edge(a.edges, s);
    const int64_t end = edge(a.edges, s + 1);
    for (int64_t h = 0; h < heads.count; h++)
      load_state(states + h * size.size(), a.initial, row, k, heads.first + h, a);
    for (int64_t t = start; t < end; t += SPAN) {
      const Span span = span_of(order, t, least(SPAN, end - t));
      load_shared(shared, a, heads.b, k, heads.group, span);
      for (int64_t h = 0; h < heads.count; h++) {
        float* S = states + h * size.size();
        const int64_t head = heads.first + h;
        if (a.saved.data && t > start) save_state(S, saved_state(a, heads.b, k, slot, head), a);
        forward_span(a, heads.b, k, head, span, shared, S, rest);
      }
      if (t > start) slot++;
    }
    for (int64_t h = 0; h < heads.count; h++)
      store_state(states + h * size.size(), a.last, row, k, heads.first + h, a);
  }
}

}  // namespace
