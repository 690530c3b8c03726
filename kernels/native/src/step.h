// Steps of decoding: the state update of both scans, and the next outputs of the convolution.
#pragma once

#include "functions.h"
#include "tile.h"

namespace {

// Up to W channels of a head as lanes: 0 where the tensor is absent, and behind the last channel.
MAMBA_INLINE F load_channels(const Tensor& t, ptrdiff_t at, ptrdiff_t stride, int channels) {
  if (t.data && t.dtype == FLOAT32 && stride == 1)
    return load_n(reinterpret_cast<const float*>(t.data) + at, channels);
  float value[W] = {};
  if (t.data)
    for (int c = 0; c < channels; c++) value[c] = get(t, at + c * stride);
  return load(value);
}

// A row of n numbers: where it lies, if it is plain, else a copy in `room`.
MAMBA_INLINE float* plain_row(const Tensor& t, ptrdiff_t at, ptrdiff_t stride, int64_t n,
                              float* room) {
  if (t.dtype == FLOAT32 && stride == 1) return reinterpret_cast<float*>(t.data) + at;
  for (int64_t i = 0; i < n; i++) room[i] = get(t, at + i * stride);
  return room;
}

// The row of the state of a batch item.
MAMBA_INLINE int64_t state_row(const Tensor& indices, int64_t b) {
  return indices.data ? reinterpret_cast<const int64_t*>(indices.data)[b] : b;
}

// One channel: moves its row of states on, returns C h by lanes. `all_alike` says that one number
// of `rates` stands for all n; the step is dt log2 e.
MAMBA_INLINE F step_channel(float* h, const float* rates, bool all_alike, const float* B,
                            const float* C, int64_t n, float base2_step, float input) {
  const F step = set1(base2_step), in = set1(input);
  F decay = all_alike ? exp2(step * set1(rates[0])) : F::zero(), sum = F::zero();
  for (int64_t i = 0; i < n; i += W) {
    if (i + W <= n) {
      if (!all_alike) decay = exp2(step * load(rates + i));
      const F next = fma(decay, load(h + i), in * load(B + i));
      store(h + i, next);
      sum = fma(next, load(C + i), sum);
    } else {
      const int rest = static_cast<int>(n - i);
      if (!all_alike) decay = exp2(step * load_n(rates + i, rest));
      const F next = fma(decay, load_n(h + i, rest), in * load_n(B + i, rest));
      store_n(h + i, next, rest);
      sum = fma(next, load_n(C + i, rest), sum);
    }
  }
  return sum;
}

// The same for W channels at once whose rows of states and rates are plain, n a multiple of W.
MAMBA_INLINE void step_rows(float* h, ptrdiff_t h_stride, const float* rates, ptrdiff_t A_stride,
                            const float* B, const float* C, int64_t n, const float* steps,
                            const float* inputs, F* sums) {
  for (int c = 0; c < W; c++) sums[c] = F::zero();
  for (int64_t i = 0; i < n; i += W) {
    const F b = load(B + i), out = load(C + i);
    for (int c = 0; c < W; c++) {
      const F decay = exp2(set1(steps[c]) * load(rates + c * A_stride + i));
      float* state = h + c * h_stride + i;
      const F next = fma(decay, load(state), set1(inputs[c]) * b);
      store(state, next);
      sums[c] = fma(next, out, sums[c]);
    }
  }
}

// What a step works on: one head of a batch item, and a token.
struct StepItem {
  int64_t b, h, t;
};

// The channels of one head of a tensor (b, h, p, t) at a token, or of a parameter (h, p).
struct Head {
  const Tensor& tensor;
  ptrdiff_t at, stride;
};
MAMBA_INLINE Head head_of(const Tensor& t, const StepItem& at) {
  const int64_t offset = at.b * t.stride[0] + at.h * t.stride[1] + at.t * t.stride[3];
  return {t, static_cast<ptrdiff_t>(offset), static_cast<ptrdiff_t>(t.stride[2])};
}
MAMBA_INLINE Head parameter_of(const Tensor& t, int64_t h) {
  return {t, static_cast<ptrdiff_t>(h * t.stride[0]), static_cast<ptrdiff_t>(t.stride[1])};
}
// Up to W of them from p.
MAMBA_INLINE F load_head(const Head& head, int64_t p, int channels) {
  return load_channels(head.tensor, head.at + p * head.stride, head.stride, channels);
}

// The states of one head in float32: row p lies at data + p * stride.
struct States {
  float* data;
  ptrdiff_t stride;
};
static bool in_place(const Step& a) { return a.state.dtype == FLOAT32 && a.state.stride[3] == 1; }

// Where they lie, if their rows are plain, else a copy in `room`, to be put back.
static States states_of(const Step& a, ptrdiff_t at, float* room) {
  const Tensor& s = a.state;
  if (in_place(a)) return {reinterpret_cast<float*>(s.data) + at, s.stride[2]};
  for (int64_t p = 0; p < a.width; p++)
    for (int64_t i = 0; i < a.states; i++)
      room[p * a.states + i] = get(s, at + p * s.stride[2] + i * s.stride[3]);
  return {room, static_cast<ptrdiff_t>(a.states)};
}
static void put_states(const Step& a, ptrdiff_t at, const States& states) {
  const Tensor& s = a.state;
  if (in_place(a)) return;
  for (int64_t p = 0; p < a.width; p++)
    for (int64_t i = 0; i < a.states; i++)
      put(s, at + p * s.stride[2] + i * s.stride[3], states.data[p * states.stride + i]);
}

// Finished step sizes, by log2 e, and inputs dt x of all channels. All of them first: their long
// chains of operations overlap, where between two rows of states they would be waited for.
static void step_inputs(const Step& a, const StepItem& at, float* steps, float* inputs) {
  const Head x = head_of(a.x, at), sizes = head_of(a.dt, at);
  const Head bias = parameter_of(a.dt_bias, at.h);
  for (int64_t p = 0; p < a.width; p += W) {
    const int channels = static_cast<int>(least(W, a.width - p));
    F dt = load_head(sizes, p, channels) + load_head(bias, p, channels);
    if (a.softplus) dt = softplus(dt).value;
    store(steps + p, dt * set1(LOG2E));
    store(inputs + p, dt * load_head(x, p, channels));
  }
}

// C h of all channels, with h moved on. `room` holds a row of rates.
static void step_states(const Step& a, int64_t head, const States& h, const float* B,
                        const float* C, const float* steps, const float* inputs, float* y,
                        float* room) {
  const int64_t n = a.states;
  const bool alike = a.A.stride[2] == 0 && n > 0;
  const bool plain = a.A.dtype == FLOAT32 && a.A.stride[2] == 1 && n % W == 0;
  for (int64_t p = 0; p < a.width; p += W) {
    const int channels = static_cast<int>(least(W, a.width - p));
    const ptrdiff_t tile_A = head * a.A.stride[0] + p * a.A.stride[1];
    float* tile_h = h.data + p * h.stride;
    F sums[W];
    const bool whole = plain && channels == W;
    if (whole)
      step_rows(tile_h, h.stride, reinterpret_cast<const float*>(a.A.data) + tile_A, a.A.stride[1],
                B, C, n, steps + p, inputs + p, sums);
    for (int c = whole ? W : 0; c < channels; c++) {
      const ptrdiff_t at_A = tile_A + c * a.A.stride[1];
      const float* rates = plain_row(a.A, at_A, a.A.stride[2], alike ? 1 : n, room);
      sums[c] = step_channel(tile_h + c * h.stride, rates, alike, B, C, n, steps[p + c],
                             inputs[p + c]);
    }
    for (int c = channels; c < W; c++) sums[c] = F::zero();
    store(y + p, lane_sums(sums));
  }
}

// The outputs: y with skip and gate.
static void step_outputs(const Step& a, const StepItem& at, const float* sums) {
  const bool plain = a.out.dtype == FLOAT32 && a.out.stride[2] == 1;
  const Head inputs = head_of(a.x, at), gates = head_of(a.z, at), outputs = head_of(a.out, at);
  const Head skip = parameter_of(a.D, at.h);
  for (int64_t p = 0; p < a.width; p += W) {
    const int channels = static_cast<int>(least(W, a.width - p));
    const F x = load_head(inputs, p, channels);
    F y = fma(load_head(skip, p, channels), x, load(sums + p));
    if (a.z.data) {
      const F z = load_head(gates, p, channels);
      y = y * z * sigmoid(z);
    }
    const ptrdiff_t to = outputs.at + p * outputs.stride;
    if (plain) {
      store_n(reinterpret_cast<float*>(a.out.data) + to, y, channels);
      continue;
    }
    float out[W];
    store(out, y);
    for (int c = 0; c < channels; c++) put(a.out, to + c * outputs.stride, out[c]);
  }
}

static void step_plan(const void* call, int64_t* items, int64_t* scratch) {
  const auto& a = *static_cast<const Step*>(call);
  *items = a.batch * a.heads;
  *scratch = 3 * (a.states + W) + 3 * (a.width + W) + (in_place(a) ? 0 : a.width * a.states);
}
static void step(const void* call, int64_t item, float* scratch) {
  const auto& a = *static_cast<const Step*>(call);
  const int64_t n = a.states, b = item / a.heads, h = item % a.heads;
  const int64_t group = h / (a.heads / a.groups);
  float *steps = scratch, *inputs = steps + a.width + W, *sums = inputs + a.width + W;
  float *room_B = sums + a.width + W, *room_C = room_B + n + W, *room = room_C + n + W;
  const ptrdiff_t at_h = state_row(a.indices, b) * a.state.stride[0] + h * a.state.stride[1];
  const States states = states_of(a, at_h, room + n + W);
  for (int64_t t = 0; t < a.tokens; t++) {
    const StepItem at = {b, h, t};
    const ptrdiff_t at_B = b * a.B.stride[0] + group * a.B.stride[1] + t * a.B.stride[3];
    const ptrdiff_t at_C = b * a.C.stride[0] + group * a.C.stride[1] + t * a.C.stride[3];
    const float* B = plain_row(a.B, at_B, a.B.stride[2], n, room_B);
    const float* C = plain_row(a.C, at_C, a.C.stride[2], n, room_C);
    step_inputs(a, at, steps, inputs);
    step_states(a, h, states, B, C, steps, inputs, sums, room);
    step_outputs(a, at, sums);
  }
  put_states(a, at_h, states);
}

// Access to an element whatever its dtype, and where all are float32.
struct AnyDtype {
  static float read(const Tensor& t, ptrdiff_t at) { return get(t, at); }
  static void write(const Tensor& t, ptrdiff_t at, float value) { put(t, at, value); }
};
struct OnlyFloat32 {
  static float read(const Tensor& t, ptrdiff_t at) {
    return reinterpret_cast<const float*>(t.data)[at];
  }
  static void write(const Tensor& t, ptrdiff_t at, float value) {
    reinterpret_cast<float*>(t.data)[at] = value;
  }
};

// All channels of a batch item from `first` to `last`; `window` holds one channel's inputs.
template <class Access>
MAMBA_INLINE void conv_step_channels(const ConvStep& a, int64_t b, int64_t first, int64_t last,
                                     float* window) {
  const int64_t kept = a.kept, past = a.width - 1, row = state_row(a.indices, b);
  for (int64_t d = first; d < last; d++) {
    const ptrdiff_t at = row * a.state.stride[0] + d * a.state.stride[1];
    const ptrdiff_t in = b * a.x.stride[0] + d * a.x.stride[1];
    const ptrdiff_t out = b * a.out.stride[0] + d * a.out.stride[1];
    const ptrdiff_t taps = d * a.weight.stride[0];
    for (int64_t i = 0; i < kept; i++)
      window[i] = Access::read(a.state, at + i * a.state.stride[2]);
    for (int64_t t = 0; t < a.steps; t++)
      window[kept + t] = Access::read(a.x, in + t * a.x.stride[2]);
    const float bias = a.bias.data ? Access::read(a.bias, d * a.bias.stride[0]) : 0.0f;
    for (int64_t t = 0; t < a.steps; t++) {
      float sum = bias;
      for (int64_t i = 0; i < a.width; i++)
        sum += Access::read(a.weight, taps + i * a.weight.stride[1]) * window[kept - past + t + i];
      Access::write(a.out, out + t * a.out.stride[2], sum);
    }
    for (int64_t i = 0; i < kept; i++)
      Access::write(a.state, at + i * a.state.stride[2], window[a.steps + i]);
  }
}

// The same for one step of float32 with TAPS taps side by side, and no more state than they need.
template <int TAPS>
MAMBA_INLINE void conv_one_step(const ConvStep& a, int64_t b, int64_t first, int64_t last) {
  const float* x = reinterpret_cast<const float*>(a.x.data) + b * a.x.stride[0];
  const float* weight = reinterpret_cast<const float*>(a.weight.data);
  const float* bias = reinterpret_cast<const float*>(a.bias.data);
  float* state =
      reinterpret_cast<float*>(a.state.data) + state_row(a.indices, b) * a.state.stride[0];
  float* out = reinterpret_cast<float*>(a.out.data) + b * a.out.stride[0];
  for (int64_t d = first; d < last; d++) {
    float* past = state + d * a.state.stride[1];
    const float *taps = weight + d * a.weight.stride[0], now = x[d * a.x.stride[1]];
    float sum = bias ? bias[d * a.bias.stride[0]] : 0.0f;
    for (int i = 0; i + 1 < TAPS; i++) sum += taps[i] * past[i];
    out[d * a.out.stride[1]] = sum + taps[TAPS - 1] * now;
    for (int i = 0; i + 2 < TAPS; i++) past[i] = past[i + 1];
    past[TAPS - 2] = now;
  }
}

// SiLU of the outputs of channels first .. last, in place.
static void activate(const ConvStep& a, int64_t b, int64_t first, int64_t last) {
  for (int64_t t = 0; t < a.steps; t++) {
    for (int64_t d = first; d < last; d += W) {
      const int channels = static_cast<int>(least(W, last - d));
      const ptrdiff_t at = b * a.out.stride[0] + d * a.out.stride[1] + t * a.out.stride[2];
      const F y = load_channels(a.out, at, a.out.stride[1], channels);
      if (a.out.dtype == FLOAT32 && a.out.stride[1] == 1) {
        store_n(reinterpret_cast<float*>(a.out.data) + at, y * sigmoid(y), channels);
        continue;
      }
      float value[W];
      store(value, y * sigmoid(y));
      for (int c = 0; c < channels; c++) put(a.out, at + c * a.out.stride[1], value[c]);
    }
  }
}

constexpr int64_t STEP_CHANNELS = 256;

static void conv_step_plan(const void* call, int64_t* items, int64_t* scratch) {
  const auto& a = *static_cast<const ConvStep*>(call);
  *items = a.batch * ceil_div(a.channels, STEP_CHANNELS);
  *scratch = a.kept + a.steps;
}
static void conv_step(const void* call, int64_t item, float* window) {
  const auto& a = *static_cast<const ConvStep*>(call);
  const int64_t blocks = ceil_div(a.channels, STEP_CHANNELS), b = item / blocks;
  const int64_t first = item % blocks * STEP_CHANNELS;
  const int64_t last = least(a.channels, first + STEP_CHANNELS);
  const bool plain = a.x.dtype == FLOAT32 && a.state.dtype == FLOAT32 &&
                     a.weight.dtype == FLOAT32 && (!a.bias.data || a.bias.dtype == FLOAT32);
  if (plain && a.steps == 1 && a.width == 4 && a.kept == 3 && a.state.stride[2] == 1 &&
      a.weight.stride[1] == 1) {
    conv_one_step<4>(a, b, first, last);
  } else if (plain) {
    conv_step_channels<OnlyFloat32>(a, b, first, last, window);
  } else {
    conv_step_channels<AnyDtype>(a, b, first, last, window);
  }
  if (a.silu) activate(a, b, first, last);
}

}  // namespace
