// Tiles: pieces of a strided tensor as float32, time by channels, in scan order.
#pragma once

#include "abi.h"
#include "simd.h"

namespace {

MAMBA_INLINE float from_bfloat16(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

MAMBA_INLINE uint16_t to_bfloat16(float x) {  // to nearest, ties to even
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if (x != x) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

MAMBA_INLINE float from_float16(uint16_t x) {
  const uint32_t sign = static_cast<uint32_t>(x & 0x8000u) << 16, rest = x & 0x7FFFu;
  uint32_t bits;
  float value;
  if (rest >= 0x7C00u) {  // infinite, or not a number
    bits = sign | 0x7F800000u | ((rest & 0x3FFu) << 13);
  } else if (rest >= 0x400u) {
    bits = sign | ((rest << 13) + 0x38000000u);
  } else {  // rest units of 2^-24
    value = static_cast<float>(rest) * 5.9604644775390625e-8f;
    return sign ? -value : value;
  }
  memcpy(&value, &bits, sizeof value);
  return value;
}

MAMBA_INLINE uint16_t to_float16(float x) {  // to nearest, ties to even
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  bits &= 0x7FFFFFFFu;
  if (bits > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u);
  if (bits >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7C00u);
  if (bits < 0x38800000u) {  // below 2^-14: adding 1/2 rounds to units of 2^-24
    float value;
    memcpy(&value, &bits, sizeof value);
    value += 0.5f;
    memcpy(&bits, &value, sizeof bits);
    return static_cast<uint16_t>(sign | (bits - 0x3F000000u));
  }
  return static_cast<uint16_t>(sign | ((bits - 0x38000000u + 0xFFFu + ((bits >> 13) & 1u)) >> 13));
}

struct Float32 {
  typedef float Stored;
  static float get(float x) { return x; }
  static float put(float x) { return x; }
};
struct Bfloat16 {
  typedef uint16_t Stored;
  static float get(uint16_t x) { return from_bfloat16(x); }
  static uint16_t put(float x) { return to_bfloat16(x); }
};
struct Float16 {
  typedef uint16_t Stored;
  static float get(uint16_t x) { return from_float16(x); }
  static uint16_t put(float x) { return to_float16(x); }
};

// A tensor seen as time by channels. `time` and `channel` are strides.
struct View {
  const Tensor* tensor;
  ptrdiff_t offset, time, channel;
  bool present() const { return tensor->data != 0; }
};

// Which tokens a tile holds: `count` of them from position `first`, through `order` if there is one.
// Where they follow one another, forward or backward, `step` is 1 or -1, else 0.
struct Span {
  const int64_t* order;
  ptrdiff_t first;
  int count, step;
  ptrdiff_t token(int t) const { return order ? order[first + t] : first + t; }
  ptrdiff_t lowest() const { return step < 0 ? token(count - 1) : token(0); }
  int row(int i) const { return step < 0 ? count - 1 - i : i; }  // of the i-th lowest token
};
static Span span_of(const int64_t* order, int64_t first, int64_t count) {
  Span s = {order, static_cast<ptrdiff_t>(first), static_cast<int>(count), 1};
  if (!order || count < 2) return s;
  const int64_t* o = order + first;
  const int64_t step = o[1] - o[0];
  bool even = step == 1 || step == -1;
  for (int64_t i = 2; even && i < count; i++) even = o[i] - o[i - 1] == step;
  s.step = even ? static_cast<int>(step) : 0;
  return s;
}

MAMBA_INLINE ptrdiff_t item_size(const Tensor& t) { return t.dtype == FLOAT32 ? 4 : 2; }
MAMBA_INLINE char* address(const Tensor& t, ptrdiff_t offset) {
  return reinterpret_cast<char*>(t.data) + offset * item_size(t);
}

template <class T>
MAMBA_INLINE void load_any(float* tile, int ld, const View& v, const Span& s, int channels) {
  const auto* base = reinterpret_cast<const typename T::Stored*>(address(*v.tensor, v.offset));
  if (v.channel == 1) {
    for (int t = 0; t < s.count; t++) {
      const auto* row = base + s.token(t) * v.time;
      for (int c = 0; c < channels; c++) tile[t * ld + c] = T::get(row[c]);
    }
    return;
  }
  for (int c = 0; c < channels; c++) {
    const auto* column = base + c * v.channel;
    if (s.order) {
      for (int t = 0; t < s.count; t++) tile[t * ld + c] = T::get(column[s.token(t) * v.time]);
    } else {
      column += s.first * v.time;
      for (int t = 0; t < s.count; t++) tile[t * ld + c] = T::get(column[t * v.time]);
    }
  }
}

template <class T>
MAMBA_INLINE void store_any(const float* tile, int ld, const View& v, const Span& s, int channels,
                            bool add) {
  auto* base = reinterpret_cast<typename T::Stored*>(address(*v.tensor, v.offset));
  for (int c = 0; c < channels; c++) {
    auto* column = base + c * v.channel;
    for (int t = 0; t < s.count; t++) {
      auto* place = column + s.token(t) * v.time;
      const float before = add ? T::get(*place) : 0.0f;
      *place = T::put(before + tile[t * ld + c]);
    }
  }
}

// tile[t * ld + c] for all tokens of the span and the first `channels` of W channels; the other
// lanes become 0.
static void load_block(float* tile, int ld, const View& v, const Span& s, int channels) {
  const bool plain = v.tensor->dtype == FLOAT32;
  if (channels < W)
    for (int t = 0; t < s.count; t++) store(tile + t * ld, F::zero());
  if (plain && v.channel == 1) {
    const float* base = reinterpret_cast<const float*>(v.tensor->data) + v.offset;
    for (int t = 0; t < s.count; t++) {
      const float* row = base + s.token(t) * v.time;
      store(tile + t * ld, channels < W ? load_n(row, channels) : load(row));
    }
  } else if (plain && v.time == 1 && s.step && channels == W) {
    const float* base = reinterpret_cast<const float*>(v.tensor->data) + v.offset + s.lowest();
    F square[W];
    int t = 0;
    for (; t + W <= s.count; t += W) {
      load_rows(base + t, v.channel, square);
      for (int i = 0; i < W; i++) store(tile + s.row(t + i) * ld, square[i]);
    }
    const int rest = s.count - t;
    if (rest) load_rows_n(base + t, v.channel, rest, square);
    for (int i = 0; i < rest; i++) store(tile + s.row(t + i) * ld, square[i]);
  } else if (plain) {
    load_any<Float32>(tile, ld, v, s, channels);
  } else if (v.tensor->dtype == BFLOAT16) {
    load_any<Bfloat16>(tile, ld, v, s, channels);
  } else {
    load_any<Float16>(tile, ld, v, s, channels);
  }
}

// The inverse of load_block; `add` adds to what is there.
static void store_block(const float* tile, int ld, const View& v, const Span& s, int channels,
                        bool add) {
  const bool plain = v.tensor->dtype == FLOAT32;
  if (plain && v.channel == 1) {
    float* base = reinterpret_cast<float*>(v.tensor->data) + v.offset;
    for (int t = 0; t < s.count; t++) {
      float* row = base + s.token(t) * v.time;
      F value = load(tile + t * ld);
      if (channels < W) {
        store_n(row, add ? value + load_n(row, channels) : value, channels);
      } else {
        store(row, add ? value + load(row) : value);
      }
    }
  } else if (plain && v.time == 1 && s.step && channels == W) {
    float* base = reinterpret_cast<float*>(v.tensor->data) + v.offset + s.lowest();
    F square[W], before[W];
    int t = 0;
    for (; t + W <= s.count; t += W) {
      for (int i = 0; i < W; i++) square[i] = load(tile + s.row(t + i) * ld);
      if (add) {
        load_rows(base + t, v.channel, before);
        for (int i = 0; i < W; i++) square[i] = square[i] + before[i];
      }
      store_rows(base + t, v.channel, square);
    }
    const int rest = s.count - t;
    if (!rest) return;
    for (int i = 0; i < W; i++) square[i] = i < rest ? load(tile + s.row(t + i) * ld) : F::zero();
    if (add) load_rows_n(base + t, v.channel, rest, before);
    for (int i = 0; add && i < W; i++) square[i] = square[i] + before[i];
    store_rows_n(base + t, v.channel, rest, square);
  } else if (plain) {
    store_any<Float32>(tile, ld, v, s, channels, add);
  } else if (v.tensor->dtype == BFLOAT16) {
    store_any<Bfloat16>(tile, ld, v, s, channels, add);
  } else {
    store_any<Float16>(tile, ld, v, s, channels, add);
  }
}

// One element.
static float get(const Tensor& t, ptrdiff_t offset) {
  const char* p = address(t, offset);
  if (t.dtype == FLOAT32) {
    float value;
    memcpy(&value, p, sizeof value);
    return value;
  }
  uint16_t half;
  memcpy(&half, p, sizeof half);
  return t.dtype == BFLOAT16 ? from_bfloat16(half) : from_float16(half);
}
static void put(const Tensor& t, ptrdiff_t offset, float value) {
  char* p = address(t, offset);
  if (t.dtype == FLOAT32) {
    memcpy(p, &value, sizeof value);
    return;
  }
  const uint16_t half = t.dtype == BFLOAT16 ? to_bfloat16(value) : to_float16(value);
  memcpy(p, &half, sizeof half);
}

// Position 0 of the order of (b, k), or null.
MAMBA_INLINE const int64_t* order_of(const Tensor& order, int64_t b, int64_t k) {
  if (!order.data) return nullptr;
  return reinterpret_cast<const int64_t*>(order.data) + b * order.stride[0] + k * order.stride[1];
}
MAMBA_INLINE int64_t edge(const Tensor& edges, int64_t i) {
  return reinterpret_cast<const int64_t*>(edges.data)[i];
}
MAMBA_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
MAMBA_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

}  // namespace
