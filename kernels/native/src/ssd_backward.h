// Gradients of SSD, span by span from the end; the states before the chunks of a span are made
// again from the one before it, which forward saved.
//
// An item is a shard of the heads of one group of one batch item, with rows of B's and C's
// gradients of its own: any number of threads adds in the same order.
#pragma once

#include "ssd.h"

namespace {

// One head's memory: what it keeps between spans, and the tiles of one span.
struct HeadMemory {
  float* dS;      // (n, p), of the state behind the chunk
  float* dD;      // (p)
  double *dA, *dbias;
};
MAMBA_INLINE float* take(float** memory, int64_t floats) {
  float* here = *memory;
  *memory += floats;
  return here;
}
struct SpanTiles {
  float *x, *inputs, *dy, *dout, *z, *y, *dx;  // (SPAN, p)
  float *dt, *slope, *ddt;                     // (SPAN)
  float* states;                               // (n, p) before each chunk
  float *skip, *work;                          // (p), (CHUNK, p)
  float *inputsT, *dyT;                        // (p, CHUNK)
  float* columns;                              // (n, CHUNK)
  float *M, *dM;                               // (CHUNK, CHUNK)
  static int64_t floats(const StateSize& s) {
    return 7 * SPAN * s.p + 3 * SPAN + SPAN / CHUNK * s.size() + s.p + 3 * CHUNK * s.p +
           CHUNK * s.n + 2 * SQUARE;
  }
  static SpanTiles at(float* m, const StateSize& s) {
    SpanTiles t;
    float** const tiles[] = {&t.x, &t.inputs, &t.dy, &t.dout, &t.z, &t.y, &t.dx};
    float** const rows[] = {&t.dt, &t.slope, &t.ddt};
    float** const chunks[] = {&t.work, &t.inputsT, &t.dyT};
    float** const squares[] = {&t.M, &t.dM};
    for (float** tile : tiles) *tile = take(&m, SPAN * s.p);
    for (float** row : rows) *row = take(&m, SPAN);
    for (float** chunk : chunks) *chunk = take(&m, CHUNK * s.p);
    for (float** square : squares) *square = take(&m, SQUARE);
    t.states = take(&m, SPAN / CHUNK * s.size());
    t.skip = take(&m, s.p);
    t.columns = take(&m, CHUNK * s.n);
    return t;
  }
};
// Gradients that the heads of an item add to, in one span.
struct SharedGrads {
  float *dBT, *dCT;  // (n, CHUNK) for each chunk, through the states
  float* dCB;        // (CHUNK, CHUNK) for each chunk
  float *rows;       // (CHUNK, n)
  static int64_t floats(int64_t n) { return 2 * SPAN * n + SPAN * CHUNK + CHUNK * n; }
  static SharedGrads at(float* s, int64_t n) {
    return {s, s + SPAN * n, s + 2 * SPAN * n, s + 2 * SPAN * n + SPAN * CHUNK};
  }
};

// columns[n] = factor * (left right^T)[n], added to `sums`; returns sum over n of `partner` times it.
// All are (n, CHUNK). left is (n, p), rightT is (p, CHUNK).
static void through_state(const StateSize& s, const float* left, const float* rightT,
                          const float* factor, const float* partner, float* columns, float* sums,
                          float* along) {
  gemm(WHOLE, s.n, CHUNK, s.p, {left, static_cast<ptrdiff_t>(s.p), 1}, {rightT, CHUNK}, columns,
       CHUNK, 0);
  for (int j = 0; j < CHUNK; j += W) {
    const F f = load(factor + j);
    F total = F::zero();
    for (int64_t n = 0; n < s.n; n++) {
      const F value = load(columns + n * CHUNK + j) * f;
      store(sums + n * CHUNK + j, load(sums + n * CHUNK + j) + value);
      total = fma(value, load(partner + n * CHUNK + j), total);
    }
    store(along + j, total);
  }
}

// Gradients of the log decays of a chunk's steps. A step t is between j and i where j < t <= i, so
// its gradient is a sum of one sign's worth of terms and nothing cancels.
static void decay_gradients(const float* flow, const float* carried, const float* kept, float whole,
                            float* out) {
  float later[CHUNK] = {}, tail = 0, head = 0;
  for (int t = 0; t < CHUNK; t++) {
    out[t] = head + whole;
    head += kept[t];
  }
  for (int t = CHUNK - 1; t >= 0; t--) {
    float between = 0;
    for (int j = 0; j < CHUNK; j++) later[j] += flow[t * CHUNK + j];
    for (int j = 0; j < t; j++) between += later[j];
    tail += carried[t];
    out[t] += between + tail;
  }
}

// Chunk t of a head. Reads dS behind the chunk and leaves dS before it.
static void backward_chunk(const StateSize& s, const Shared& shared, const SharedGrads& grads,
                           const SpanTiles& m, HeadMemory* head, int t, float rate, bool gated) {
  const float* S = m.states + t / CHUNK * s.size();
  const int64_t at = t * s.p, n = t * s.n;
  const ptrdiff_t p = s.p;
  Decays d;
  make_decays(&d, m.dt + t, rate);
  if (gated) {
    chunk_outputs(s, shared, t, d, m.inputs + at, S, m.M, m.y + at);
  } else {
    for (int i = 0; i < SQUARE; i += W)
      store(m.M + i, load(shared.CB + t * CHUNK + i) * load(d.L + i));
  }
  transpose(CHUNK, s.p, m.inputs + at, p, m.inputsT, CHUNK);
  transpose(CHUNK, s.p, m.dy + at, p, m.dyT, CHUNK);
  // inside the chunk
  gemm(WHOLE, CHUNK, CHUNK, s.p, {m.dy + at, p, 1}, {m.inputsT, CHUNK}, m.dM, CHUNK, 0);
  float* dCB = grads.dCB + t * CHUNK;
  for (int i = 0; i < SQUARE; i += W) {
    const F dM = load(m.dM + i);
    store(dCB + i, fma(dM, load(d.L + i), load(dCB + i)));
    store(m.dM + i, dM * load(m.M + i));
  }
  // of the inputs dt x: through the state behind the chunk, and inside it
  gemm(WHOLE, CHUNK, s.p, s.n, {shared.B + n, static_cast<ptrdiff_t>(s.n), 1}, {head->dS, p}, m.work, p,
       0);
  scale_rows(m.work, m.work, d.W_, s.p);
  gemm(UPPER, CHUNK, s.p, CHUNK, {m.M, 1, CHUNK}, {m.dy + at, p}, m.work, p, 1);
  // of C through the state before the chunk, of B through the one behind it
  float carried[CHUNK], kept[CHUNK], steps[CHUNK];
  through_state(s, S, m.dyT, d.E, shared.CT + n, m.columns, grads.dCT + n, carried);
  through_state(s, head->dS, m.inputsT, d.W_, shared.BT + n, m.columns, grads.dBT + n, kept);
  F whole = F::zero();
  for (int64_t i = 0; i < s.size(); i += W) whole = fma(load(S + i), load(head->dS + i), whole);
  decay_gradients(m.dM, carried, kept, total(whole) * d.whole, steps);
  for (int i = 0; i < CHUNK; i++) {
    F along = F::zero();
    const F dt = set1(m.dt[t + i]);
    for (int64_t c = 0; c < s.p; c += W) {
      const F grad = load(m.work + i * p + c);
      along = fma(grad, load(m.x + at + i * p + c), along);
      store(m.dx + at + i * p + c, fma(load(m.skip + c), load(m.dy + at + i * p + c), grad * dt));
    }
    m.ddt[t + i] = (total(along) + steps[i] * rate) * m.slope[t + i];
    *head->dA += static_cast<double>(steps[i]) * m.dt[t + i];
    *head->dbias += m.ddt[t + i];
  }
  scale_rows(m.work, m.dy + at, d.E, s.p);
  gemm(WHOLE, s.n, s.p, CHUNK, {shared.C + n, 1, static_cast<ptrdiff_t>(s.n)}, {m.work, p}, head->dS, p,
       d.whole);
}

// Tiles of a span, and the states before each of its chunks.
static void prepare_span(const Ssd& a, int64_t b, int64_t k, int64_t h, const Span& span,
                         const Shared& shared, const SpanTiles& m) {
  const StateSize s = state_size(a);
  const int rows = static_cast<int>(ceil_div(span.count, CHUNK)) * CHUNK;
  Steps steps;
  load_steps(&steps, a, b, k, h, span, head_value(a.dt_bias, k, h));
  memcpy(m.dt, steps.dt, sizeof(float) * rows);
  memcpy(m.slope, steps.slope, sizeof(float) * rows);
  load_wide(m.x, head_view(a.x, b, k, h), span, a.width);
  load_skip(m.skip, a, k, h);
  if (a.dout.data) {
    load_wide(m.dout, head_view(a.dout, b, k, h), span, a.width);
  } else {
    memset(m.dout, 0, sizeof(float) * rows * s.p);
  }
  if (a.z.data) load_wide(m.z, head_view(a.z, b, k, h), span, a.width);
  for (int64_t i = 0; i < rows * s.p; i += W) {
    F dy = load(m.dout + i);
    if (a.z.data) {
      const F gate = load(m.z + i);
      dy = dy * gate * sigmoid(gate);
    }
    store(m.dy + i, dy);
  }
  const float rate = head_value(a.A, k, h);
  for (int t = 0; t < rows; t += CHUNK) {
    scale_rows(m.inputs + t * s.p, m.x + t * s.p, m.dt + t, s.p);
    if (t + CHUNK >= rows) break;
    float *S = m.states + t / CHUNK * s.size(), *next = S + s.size();
    Decays d;
    make_decays(&d, m.dt + t, rate);
    memcpy(next, S, sizeof(float) * s.size());
    chunk_state(s, shared, t, d, m.inputs + t * s.p, next, m.work);
  }
}

// Gradients of one span of one head.
static void backward_span(const Ssd& a, int64_t b, int64_t k, int64_t h, const Span& span,
                          const Shared& shared, const SharedGrads& grads, const SpanTiles& m,
                          HeadMemory* head) {
  const StateSize s = state_size(a);
  prepare_span(a, b, k, h, span, shared, m);
  const float rate = head_value(a.A, k, h);
  for (int t = (span.count - 1) / CHUNK * CHUNK; t >= 0; t -= CHUNK)
    backward_chunk(s, shared, grads, m, head, t, rate, a.z.data != 0);
  for (int64_t c = 0; c < s.p; c += W) {
    F dD = F::zero();  // a sum of sums: a long one would round away small terms
    for (int64_t i = 0; i < span.count; i++) {
      const int64_t at = i * s.p + c;
      const F x = load(m.x + at);
      dD = fma(load(m.dy + at), x, dD);
      if (a.z.data) {
        const F gate = load(m.z + at), y = fma(load(m.skip + c), x, load(m.y + at));
        store(m.y + at, load(m.dout + at) * y * silu_slope(gate, sigmoid(gate)));
      }
    }
    store(head->dD + c, load(head->dD + c) + dD);
  }
  store_wide(m.dx, head_view(a.dx, b, k, h), span, a.width, k > 0 && !a.dx.stride[1]);
  if (a.dz.data)
    store_wide(m.y, head_view(a.dz, b, k, h), span, a.width, k > 0 && !a.dz.stride[1]);
  const Tensor& t = a.ddt;
  const ptrdiff_t base = b * t.stride[0] + k * t.stride[1] + h * t.stride[3];
  for (int i = 0; i < span.count; i++) put(t, base + span.token(i) * t.stride[2], m.ddt[i]);
}

// The rows of B's or C's gradient of a span: direct part dCB (or its transpose) times the other,
// and the part through the states.
static void store_shared(const Ssd& a, const Tensor& to, int64_t b, int64_t k, const Heads& heads,
                         const Span& span, Left dCB, const float* other, const float* columns,
                         Part part, float* rows) {
  const StateSize s = state_size(a);
  const ptrdiff_t n = s.n;
  for (int t = 0; t < span.count; t += CHUNK) {
    transpose(s.n, CHUNK, columns + t * n, CHUNK, rows, n);
    gemm(part, CHUNK, s.n, CHUNK, {dCB.data + t * CHUNK, dCB.row, dCB.column}, {other + t * n, n}, rows,
         n, 1);
    const Span chunk = span_of(span.order, span.first + t, least(CHUNK, span.count - t));
    View v = head_view(to, b, k, heads.group);
    v.offset += heads.shard * a.batch * to.stride[0];
    store_wide(rows, v, chunk, a.states, false);
  }
}

// One path of an item.
static void backward_path(const Ssd& a, const Heads& heads, int64_t k, float* scratch) {
  const StateSize size = state_size(a);
  const int64_t count = heads.count;
  const Shared shared = Shared::at(scratch, size.n);
  scratch += Shared::floats(size.n);
  const SharedGrads grads = SharedGrads::at(scratch, size.n);
  scratch += SharedGrads::floats(size.n);
  const SpanTiles tiles = SpanTiles::at(scratch, size);
  scratch += SpanTiles::floats(size);
  double* sums = reinterpret_cast<double*>(scratch);
  float *dS = scratch + 4 * most_heads(a), *dD = dS + most_heads(a) * size.size();
  memset(sums, 0, sizeof(double) * 2 * count);
  memset(dD, 0, sizeof(float) * count * size.p);
  const int64_t* order = order_of(a.order, heads.b, k);
  int64_t slot = 0;
  for (int64_t s = 0; s < a.sequences; s++) {
    const int64_t row = a.sequences == 1 ? heads.b : s, start = edge(a.edges, s);
    const int64_t end = edge(a.edges, s + 1), spans = ceil_div(end - start, SPAN);
    for (int64_t h = 0; h < count; h++)
      load_state(dS + h * size.size(), a.dlast, row, k, heads.first + h, a);
    for (int64_t j = spans - 1; j >= 0; j--) {
      const int64_t t = start + j * SPAN;
      const Span span = span_of(order, t, least(SPAN, end - t));
      load_shared(shared, a, heads.b, k, heads.group, span);
      memset(grads.dBT, 0, sizeof(float) * (2 * SPAN * size.n + SPAN * CHUNK));
      for (int64_t h = 0; h < count; h++) {
        const int64_t head = heads.first + h;
        if (j > 0) {
          restore_state(tiles.states, saved_state(a, heads.b, k, slot + j - 1, head), a);
        } else {
          load_state(tiles.states, a.initial, row, k, head, a);
        }
        HeadMemory memory = {dS + h * size.size(), dD + h * size.p, sums + 2 * h, sums + 2 * h + 1};
        backward_span(a, heads.b, k, head, span, shared, grads, tiles, &memory);
      }
      store_shared(a, a.dC, heads.b, k, heads, span, {grads.dCB, CHUNK, 1}, shared.B, grads.dCT, LOWER,
                   grads.rows);
      store_shared(a, a.dB, heads.b, k, heads, span, {grads.dCB, 1, CHUNK}, shared.C, grads.dBT, UPPER,
                   grads.rows);
    }
    if (spans > 1) slot += spans - 1;
    for (int64_t h = 0; h < count; h++)
      store_state(dS + h * size.size(), a.dinitial, row, k, heads.first + h, a);
  }
  for (int64_t h = 0; h < count; h++) {
    const ptrdiff_t place = (heads.b * a.paths + k) * a.heads + heads.first + h;
    put(a.dA, place, static_cast<float>(sums[2 * h]));
    if (a.dbias.data) put(a.dbias, place, static_cast<float>(sums[2 * h + 1]));
    if (a.dD.data)
      for (int64_t p = 0; p < a.width; p++) put(a.dD, place * a.width + p, dD[h * size.p + p]);
  }
}

static void ssd_backward_plan(const void* call, int64_t* items, int64_t* scratch) {
  const auto& a = *static_cast<const Ssd*>(call);
  const StateSize s = state_size(a);
  *items = a.batch * a.groups * a.shards;
  *scratch = Shared::floats(s.n) + SharedGrads::floats(s.n) + SpanTiles::floats(s) +
             most_heads(a) * (4 + s.size() + s.p);
}
static void ssd_backward(const void* call, int64_t item, float* scratch) {
  const auto& a = *static_cast<const Ssd*>(call);
  const Heads heads = heads_of(a, item);
  for (int64_t k = 0; k < a.paths; k++) backward_path(a, heads, k, scratch);
}

}  // namespace
