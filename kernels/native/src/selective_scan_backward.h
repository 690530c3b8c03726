// Gradients of the selective scan, block by block from the end.
//
//   g_t = C_t dy_t + exp(dt_{t+1} A) g_{t+1}   is the gradient of h_t
//
// An item is a shard of the channels of one batch item, with sums for B and C of its own; their
// number depends on the shapes only, so that any number of threads adds in the same order.
#pragma once

#include "selective_scan.h"

namespace {

// The tiles of one block, and the sums that run along a row of blocks.
struct BackwardTiles {
  float *u, *dt, *slope, *z, *dout, *dy, *y, *x, *ddt, *dx, *decay, *h;  // h has a step in front
  float *rates, *carry, *before, *dA;                                    // (n, W) each
};

MAMBA_INLINE int64_t backward_scratch(int64_t n) { return 13 * TILE + 4 * n * W; }
MAMBA_INLINE BackwardTiles backward_tiles(float* s, int64_t n) {
  float* m = s + 13 * TILE;
  return {s,            s + TILE,     s + 2 * TILE, s + 3 * TILE, s + 4 * TILE,  s + 5 * TILE,
          s + 6 * TILE, s + 7 * TILE, s + 8 * TILE, s + 9 * TILE, s + 10 * TILE, s + 11 * TILE,
          m,            m + n * W,    m + 2 * n * W, m + 3 * n * W};
}

// One state n of a block: recompute forward, then the recurrence of g, adding to all sums.
// B, C point to column n of the block (rows of `states`), dB and dC to row n at the block.
template <bool GATED>
MAMBA_INLINE void backward_state(int count, int64_t states, const BackwardTiles& m, int64_t n,
                                 const float* MAMBA_RESTRICT B, const float* MAMBA_RESTRICT C,
                                 float* MAMBA_RESTRICT dB, float* MAMBA_RESTRICT dC) {
  const F rate = load(m.rates + n * W), rate2 = rate * set1(LOG2E);
  F h = load(m.before + n * W);
  store(m.h, h);
  for (int t = 0; t < count; t++) {
    const int i = t * W;
    const F decay = exp2(load(m.dt + i) * rate2);
    h = fma(decay, h, load(m.x + i) * set1(B[t * states]));
    store(m.decay + i, decay);
    store(m.h + i + W, h);
    if (GATED) store(m.y + i, fma(h, set1(C[t * states]), load(m.y + i)));
  }
  F carry = load(m.carry + n * W), dA = F::zero();
  for (int top = (count - 1) / W * W; top >= 0; top -= W) {
    const int here = count - top < W ? count - top : W;
    F for_B[W], for_C[W];
    for (int j = here; j < W; j++) for_B[j] = for_C[j] = F::zero();
    for (int j = here - 1; j >= 0; j--) {
      const int t = top + j, i = t * W;
      const F dy = load(m.dy + i), dt = load(m.dt + i);
      const F g = fma(dy, set1(C[t * states]), carry);
      for_B[j] = g * load(m.x + i);
      for_C[j] = dy * load(m.h + i + W);
      store(m.dx + i, fma(g, set1(B[t * states]), load(m.dx + i)));
      carry = g * load(m.decay + i);
      const F flow = carry * load(m.h + i);
      dA = fma(flow, dt, dA);
      store(m.ddt + i, fma(flow, rate, load(m.ddt + i)));
    }
    const F sum_B = lane_sums(for_B), sum_C = lane_sums(for_C);
    if (here == W) {
      store(dB + top, load(dB + top) + sum_B);
      store(dC + top, load(dC + top) + sum_C);
    } else {
      store_n(dB + top, load_n(dB + top, here) + sum_B, here);
      store_n(dC + top, load_n(dC + top, here) + sum_C, here);
    }
  }
  store(m.carry + n * W, carry);
  store(m.dA + n * W, load(m.dA + n * W) + dA);
}

// Sums of one row of blocks that are added up in registers.
struct RowSums {
  F D, bias;
};

// One block of one row: tiles in, all states, tiles out.
MAMBA_INLINE void backward_block(const SelectiveScan& a, const Lanes& l, const Span& s,
                                 const BackwardTiles& m, F bias, F skip, float* dB, float* dC,
                                 RowSums* sums) {
  const int size = s.count * W;
  load_steps(a, l, s, bias, m.u, m.dt, m.slope);
  if (a.dout.data) {
    load_block(m.dout, W, view_of(a.dout, l), s, l.channels);
  } else {
    memset(m.dout, 0, sizeof(float) * size);
  }
  if (a.z.data) load_block(m.z, W, view_of(a.z, l), s, l.channels);
  for (int i = 0; i < size; i += W) {
    F dy = load(m.dout + i);
    if (a.z.data) {
      const F gate = load(m.z + i);
      dy = dy * gate * sigmoid(gate);
    }
    store(m.dy + i, dy);
    store(m.x + i, load(m.dt + i) * load(m.u + i));
    store(m.y + i, skip * load(m.u + i));
    store(m.ddt + i, F::zero());
    store(m.dx + i, F::zero());
  }
  const Packed p = packed_of(a, l);
  const float *B = p.B + s.first * a.states, *C = p.C + s.first * a.states;
  for (int64_t n = 0; n < a.states; n++) {
    float *row_B = dB + n * a.length + s.first, *row_C = dC + n * a.length + s.first;
    if (a.z.data) {
      backward_state<true>(s.count, a.states, m, n, B + n, C + n, row_B, row_C);
    } else {
      backward_state<false>(s.count, a.states, m, n, B + n, C + n, row_B, row_C);
    }
  }
  RowSums here = {F::zero(), F::zero()};  // sums of sums: long ones would round away small terms
  for (int i = 0; i < size; i += W) {
    const F u = load(m.u + i), dy = load(m.dy + i), dx = load(m.dx + i);
    here.D = fma(dy, u, here.D);
    const F raw = fma(dx, u, load(m.ddt + i)) * load(m.slope + i);
    here.bias = here.bias + raw;
    store(m.ddt + i, raw);
    store(m.dx + i, fma(dx, load(m.dt + i), skip * dy));
    if (a.z.data) {
      const F gate = load(m.z + i);
      store(m.y + i, load(m.dout + i) * load(m.y + i) * silu_slope(gate, sigmoid(gate)));
    }
  }
  sums->D = sums->D + here.D;
  sums->bias = sums->bias + here.bias;
  store_block(m.dx, W, view_of(a.du, l), s, l.channels, l.k > 0 && !a.du.stride[1]);
  store_block(m.ddt, W, view_of(a.ddelta, l), s, l.channels, false);
  if (a.dz.data) store_block(m.y, W, view_of(a.dz, l), s, l.channels, l.k > 0 && !a.dz.stride[1]);
}

// All sequences of W channels of one path.
static void backward_lanes(const SelectiveScan& a, const Lanes& l, int64_t shard,
                           const BackwardTiles& m) {
  const int64_t n = a.states, size = n * a.length;
  const int64_t at =
      (((shard * a.batch + l.b) * a.paths + l.k) * a.groups + l.group) * size;
  float* dB = reinterpret_cast<float*>(a.dB.data) + at;
  float* dC = reinterpret_cast<float*>(a.dC.data) + at;
  load_rates(m.rates, a, l);
  memset(m.dA, 0, sizeof(float) * n * W);
  const F bias = parameter(a.delta_bias, l), skip = parameter(a.D, l);
  RowSums sums = {F::zero(), F::zero()};
  const int64_t* order = order_of(a.order, l.b, l.k);
  int64_t slot = 0;
  for (int64_t s = 0; s < a.sequences; s++) {
    const int64_t row = a.sequences == 1 ? l.b : s, start = edge(a.edges, s);
    const int64_t end = edge(a.edges, s + 1), blocks = ceil_div(end - start, BLOCK);
    load_states(m.carry, a.dlast, row, l, n);
    for (int64_t j = blocks - 1; j >= 0; j--) {
      const int64_t t = start + j * BLOCK;
      if (j > 0) {
        const float* from = slot_of(a, l, slot + j - 1);
        for (int64_t i = 0; i < n; i++)
          store(m.before + i * W, load_n(from + i * a.channels, l.channels));
      } else {
        load_states(m.before, a.initial, row, l, n);
      }
      const Span span = span_of(order, t, least(BLOCK, end - t));
      backward_block(a, l, span, m, bias, skip, dB, dC, &sums);
    }
    if (blocks > 1) slot += blocks - 1;
    store_states(m.carry, a.dinitial, row, l, n);
  }
  store_states(m.dA, a.dA, l.b, l, n);
  float D[W], dbias[W];
  store(D, sums.D);
  store(dbias, sums.bias);
  for (int c = 0; c < l.channels; c++) {
    const ptrdiff_t place = (l.b * a.paths + l.k) * a.channels + l.first + c;
    if (a.dD.data) put(a.dD, place, D[c]);
    if (a.dbias.data) put(a.dbias, place, dbias[c]);
  }
}

static void scan_backward_plan(const void* call, int64_t* items, int64_t* scratch) {
  const auto& a = *static_cast<const SelectiveScan*>(call);
  *items = a.batch * a.shards;
  *scratch = backward_scratch(a.states);
}
static void scan_backward(const void* call, int64_t item, float* scratch) {
  const auto& a = *static_cast<const SelectiveScan*>(call);
  const int64_t b = item / a.shards, shard = item % a.shards, blocks = lane_blocks(a);
  const int64_t first = blocks * shard / a.shards, last = blocks * (shard + 1) / a.shards;
  const BackwardTiles m = backward_tiles(scratch, a.states);
  for (int64_t block = first; block < last; block++)
    for (int64_t k = 0; k < a.paths; k++)
      backward_lanes(a, lanes_of(a, b, k, block), shard, m);
}

}  // namespace
