// Elementary functions of a vector, to about one unit in the last place of float32.
#pragma once

#include "simd.h"

namespace {

constexpr float LOG2E = 1.44269504088896341f;

// 2^r for |r| <= 1/2. The constant is exactly 1: 2^0 is 1, so a step of size 0 changes nothing.
MAMBA_INLINE F exp2_fraction(F r) {
  F p = set1(0.0013264727f);
  p = fma(p, r, set1(0.009671513f));
  p = fma(p, r, set1(0.055507336f));
  p = fma(p, r, set1(0.24022242f));
  p = fma(p, r, set1(0.69314700f));
  return fma(p, r, set1(1.0f));
}

MAMBA_INLINE F exp2(F x) {
  const Split s = split(x);
  return scale(exp2_fraction(s.fraction), s);
}

// The same for |x| <= 126, which a NaN is not.
MAMBA_INLINE F exp2_small(F x) {
  const Split s = split_small(x);
  return scale_small(exp2_fraction(s.fraction), s);
}

// e^x, with the part of x log2(e) that float32 would round away.
MAMBA_INLINE F exp(F x) {
  x = min(set1(89.0f), max(set1(-88.0f), x));
  const F log2 = x * set1(LOG2E), rest = fma(x, set1(LOG2E), -log2);
  const Split s = split(log2);
  return scale(exp2_fraction(s.fraction + fma(x, set1(1.92596299e-8f), rest)), s);
}

MAMBA_INLINE F sigmoid(F x) { return set1(1.0f) / (set1(1.0f) + exp(-x)); }

// Gradient of SiLU(x) = x sigmoid(x), from s = sigmoid(x).
MAMBA_INLINE F silu_slope(F x, F s) { return s * fma(x, set1(1.0f) - s, set1(1.0f)); }

// log(1 + e) for e in [0, 1]: 2 atanh(e / (2 + e)), whose relative error stays small near 0.
MAMBA_INLINE F log1p(F e) {
  const F s = e / (e + set1(2.0f)), q = s * s;
  F p = set1(0.24289680f);
  p = fma(p, q, set1(0.21430711f));
  p = fma(p, q, set1(0.28616599f));
  p = fma(p, q, set1(0.39998888f));
  p = fma(p, q, set1(0.66666676f));
  p = fma(p, q, set1(2.0f));
  return p * s;
}

// log(1 + e^x), and its slope.
struct Softplus {
  F value, slope;
};
MAMBA_INLINE Softplus softplus(F x) {
  const F e = exp(-abs(x)), one = set1(1.0f), r = one / (one + e);
  return {max(F::zero(), x) + log1p(e), blend(x, r, e * r)};
}

// Sum of the lanes.
MAMBA_INLINE float total(F a) {
  float t[W], sum = 0;
  store(t, a);
  for (int i = 0; i < W; i++) sum += t[i];
  return sum;
}

}  // namespace
