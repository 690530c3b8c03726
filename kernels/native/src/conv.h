// The causal convolution, W channels at a time: y_t = act(bias + sum_i weight_i x_{t - width + 1 + i}).
#pragma once

#include "functions.h"
#include "tile.h"

namespace {

constexpr int CONV_BLOCK = 64;

// Where an item works: up to W channels of one path of one batch item.
struct ConvLanes {
  int64_t b, k, first;
  int channels;
};
MAMBA_INLINE ConvLanes conv_lanes(const Conv& a, int64_t b, int64_t k, int64_t block) {
  return {b, k, block * W, static_cast<int>(least(W, a.channels - block * W))};
}
MAMBA_INLINE View conv_view(const Tensor& t, const ConvLanes& l) {
  const ptrdiff_t offset = l.b * t.stride[0] + l.k * t.stride[1] + l.first * t.stride[2];
  return {&t, offset, static_cast<ptrdiff_t>(t.stride[3]), static_cast<ptrdiff_t>(t.stride[2])};
}

// Rows (w, lane) of the weights, and of the bias behind them.
static void load_taps(float* to, const Conv& a, const ConvLanes& l) {
  memset(to, 0, sizeof(float) * (a.width + 1) * W);
  for (int c = 0; c < l.channels; c++) {
    const ptrdiff_t at = l.k * a.weight.stride[0] + (l.first + c) * a.weight.stride[1];
    for (int64_t i = 0; i < a.width; i++) to[i * W + c] = get(a.weight, at + i * a.weight.stride[2]);
    const ptrdiff_t place = l.k * a.bias.stride[0] + (l.first + c) * a.bias.stride[1];
    if (a.bias.data) to[a.width * W + c] = get(a.bias, place);
  }
}

// Rows (w - 1, lane) of a tensor (r, k, d, w - 1).
static void load_past(float* to, const Tensor& t, int64_t row, const ConvLanes& l, int64_t past) {
  memset(to, 0, sizeof(float) * past * W);
  if (!t.data) return;
  for (int c = 0; c < l.channels; c++) {
    const ptrdiff_t at = row * t.stride[0] + l.k * t.stride[1] + (l.first + c) * t.stride[2];
    for (int64_t i = 0; i < past; i++) to[i * W + c] = get(t, at + i * t.stride[3]);
  }
}
static void store_past(const float* from, const Tensor& t, int64_t row, const ConvLanes& l,
                       int64_t past) {
  if (!t.data) return;
  for (int c = 0; c < l.channels; c++) {
    const ptrdiff_t at = row * t.stride[0] + l.k * t.stride[1] + (l.first + c) * t.stride[2];
    for (int64_t i = 0; i < past; i++) put(t, at + i * t.stride[3], from[i * W + c]);
  }
}

// y[t] = bias + sum_i taps[i] x[t + i]; N is the width where it is known.
template <int N>
MAMBA_INLINE void convolve(int count, int64_t width, const float* MAMBA_RESTRICT taps,
                           const float* MAMBA_RESTRICT x, float* MAMBA_RESTRICT y) {
  const int64_t size = N ? N : width;
  for (int t = 0; t < count; t++) {
    F sum = load(taps + size * W);
    for (int64_t i = 0; i < size; i++) sum = fma(load(taps + i * W), load(x + (t + i) * W), sum);
    store(y + t * W, sum);
  }
}
static void convolve_block(int count, int64_t width, const float* taps, const float* x, float* y) {
  if (width == 4) {
    convolve<4>(count, width, taps, x, y);
  } else {
    convolve<0>(count, width, taps, x, y);
  }
}

static void conv_forward_plan(const void* call, int64_t* items, int64_t* scratch) {
  const auto& a = *static_cast<const Conv*>(call);
  *items = a.batch * a.paths * ceil_div(a.channels, W);
  *scratch = (2 * CONV_BLOCK + 2 * a.width) * W;
}
static void conv_forward(const void* call, int64_t item, float* scratch) {
  const auto& a = *static_cast<const Conv*>(call);
  const int64_t blocks = ceil_div(a.channels, W), past = a.width - 1;
  const ConvLanes l = conv_lanes(a, item / blocks / a.paths, item / blocks % a.paths, item % blocks);
  float *taps = scratch, *y = taps + (a.width + 1) * W, *x = y + CONV_BLOCK * W;
  load_taps(taps, a, l);
  const int64_t* order = order_of(a.order, l.b, l.k);
  for (int64_t s = 0; s < a.sequences; s++) {
    const int64_t row = a.sequences == 1 ? l.b : s, start = edge(a.edges, s);
    const int64_t end = edge(a.edges, s + 1);
    load_past(x, a.initial, row, l, past);
    for (int64_t t = start; t < end; t += CONV_BLOCK) {
      const Span span = span_of(order, t, least(CONV_BLOCK, end - t));
      load_block(x + past * W, W, conv_view(a.x, l), span, l.channels);
      convolve_block(span.count, a.width, taps, x, y);
      if (a.silu) {
        for (int i = 0; i < span.count * W; i += W) {
          const F value = load(y + i);
          store(y + i, value * sigmoid(value));
        }
      }
      store_block(y, W, conv_view(a.out, l), span, l.channels, false);
      memmove(x, x + span.count * W, sizeof(float) * past * W);
    }
    store_past(x, a.last, row, l, past);
  }
}

// Tiles of backward. `x` and `g` have width - 1 more rows: the inputs before the block, and the
// gradients behind it.
struct ConvTiles {
  float *taps, *x, *y, *g, *dx, *dlast, *dtaps;
  static int64_t floats(int64_t width) { return (4 * CONV_BLOCK + 6 * width) * W; }
  static ConvTiles at(float* s, int64_t width) {
    float* x = s + (width + 1) * W;
    float* y = x + (CONV_BLOCK + width - 1) * W;
    float* g = y + CONV_BLOCK * W;
    float* dx = g + (CONV_BLOCK + width - 1) * W;
    float* dlast = dx + CONV_BLOCK * W;
    return {s, x, y, g, dx, dlast, dlast + width * W};
  }
};

// One block: gradients before the activation to `g`, of the inputs to `dx`, of the taps summed.
// `done` steps of the sequence come before it, `left` from its start on.
static void conv_backward_block(const Conv& a, const ConvLanes& l, int64_t row, const Span& span,
                                const int64_t* order, int64_t done, int64_t left, const ConvTiles& m) {
  const int64_t width = a.width, past = width - 1, halo = least(done, past);
  const int count = span.count;
  if (halo < past) {
    load_past(m.x, a.initial, row, l, past);
    memmove(m.x, m.x + done * W, sizeof(float) * (past - halo) * W);
  }
  for (int64_t i = 0; i < halo; i += CONV_BLOCK)
    load_block(m.x + (past - halo + i) * W, W, conv_view(a.x, l),
               span_of(order, span.first - halo + i, least(CONV_BLOCK, halo - i)), l.channels);
  load_block(m.x + past * W, W, conv_view(a.x, l), span, l.channels);
  memmove(m.g + count * W, m.g, sizeof(float) * past * W);
  if (a.dout.data) {
    load_block(m.g, W, conv_view(a.dout, l), span, l.channels);
  } else {
    memset(m.g, 0, sizeof(float) * count * W);
  }
  if (a.silu) {
    convolve_block(count, width, m.taps, m.x, m.y);
    for (int i = 0; i < count * W; i += W) {
      const F y = load(m.y + i);
      store(m.g + i, load(m.g + i) * silu_slope(y, sigmoid(y)));
    }
  }
  for (int64_t i = 0; i < width; i++) {
    F sum = F::zero();
    for (int t = 0; t < count; t++) sum = fma(load(m.g + t * W), load(m.x + (t + i) * W), sum);
    store(m.dtaps + i * W, load(m.dtaps + i * W) + sum);
  }
  F bias = F::zero();
  for (int t = 0; t < count; t++) {
    bias = bias + load(m.g + t * W);
    const int64_t from_end = left - t;  // the last inputs of the sequence are its final state
    F sum = from_end <= past ? load(m.dlast + (past - from_end) * W) : F::zero();
    for (int64_t i = 0; i < width; i++)
      sum = fma(load(m.taps + i * W), load(m.g + (t + past - i) * W), sum);
    store(m.dx + t * W, sum);
  }
  store(m.dtaps + width * W, load(m.dtaps + width * W) + bias);
  store_block(m.dx, W, conv_view(a.dx, l), span, l.channels, l.k > 0 && !a.dx.stride[1]);
}

// Gradient of the inputs before a sequence of `length` steps, from `g` of its first steps.
static void conv_initial_gradient(const Conv& a, const ConvLanes& l, int64_t row, int64_t length,
                                  const ConvTiles& m) {
  const int64_t past = a.width - 1;
  if (!a.dinitial.data) return;
  for (int64_t p = 0; p < past; p++) {
    F sum = p >= length ? load(m.dlast + (p - length) * W) : F::zero();
    for (int64_t i = 0; i <= p; i++) sum = fma(load(m.taps + i * W), load(m.g + (p - i) * W), sum);
    store(m.x + p * W, sum);
  }
  store_past(m.x, a.dinitial, row, l, past);
}

static void conv_backward_lanes(const Conv& a, const ConvLanes& l, const ConvTiles& m) {
  const int64_t past = a.width - 1;
  const int64_t* order = order_of(a.order, l.b, l.k);
  load_taps(m.taps, a, l);
  memset(m.dtaps, 0, sizeof(float) * (a.width + 1) * W);
  for (int64_t s = 0; s < a.sequences; s++) {
    const int64_t row = a.sequences == 1 ? l.b : s, start = edge(a.edges, s);
    const int64_t end = edge(a.edges, s + 1);
    load_past(m.dlast, a.dlast, row, l, past);
    memset(m.g, 0, sizeof(float) * past * W);
    for (int64_t j = ceil_div(end - start, CONV_BLOCK) - 1; j >= 0; j--) {
      const int64_t done = j * CONV_BLOCK, left = end - start - done;
      const Span span = span_of(order, start + done, least(CONV_BLOCK, left));
      conv_backward_block(a, l, row, span, order, done, left, m);
    }
    conv_initial_gradient(a, l, row, end - start, m);
  }
  for (int c = 0; c < l.channels; c++) {
    const ptrdiff_t place = (l.b * a.paths + l.k) * a.channels + l.first + c;
    for (int64_t i = 0; i < a.width; i++) put(a.dweight, place * a.width + i, m.dtaps[i * W + c]);
    if (a.dbias.data) put(a.dbias, place, m.dtaps[a.width * W + c]);
  }
}

static void conv_backward_plan(const void* call, int64_t* items, int64_t* scratch) {
  const auto& a = *static_cast<const Conv*>(call);
  *items = a.batch * ceil_div(a.channels, W);
  *scratch = ConvTiles::floats(a.width);
}
static void conv_backward(const void* call, int64_t item, float* scratch) {
  const auto& a = *static_cast<const Conv*>(call);
  const int64_t blocks = ceil_div(a.channels, W);
  const ConvTiles m = ConvTiles::at(scratch, a.width);
  for (int64_t k = 0; k < a.paths; k++)
    conv_backward_lanes(a, conv_lanes(a, item / blocks, k, item % blocks), m);
}

}  // namespace
