// No intrinsics: 4 lanes as an array, for any CPU. See simd.h.
struct F {
  static constexpr int width = 4;
  float v[4];
  static F zero() { return {{0, 0, 0, 0}}; }
};

#define MAMBA_LANES(expression)                   \
  F o;                                            \
  for (int i = 0; i < 4; i++) o.v[i] = expression; \
  return o
MAMBA_INLINE F set1(float x) { return {{x, x, x, x}}; }
MAMBA_INLINE F load(const float* p) { MAMBA_LANES(p[i]); }
MAMBA_INLINE void store(float* p, F a) {
  for (int i = 0; i < 4; i++) p[i] = a.v[i];
}
MAMBA_INLINE F load_n(const float* p, int n) { MAMBA_LANES(i < n ? p[i] : 0.0f); }
MAMBA_INLINE void store_n(float* p, F a, int n) {
  for (int i = 0; i < n; i++) p[i] = a.v[i];
}
MAMBA_INLINE F operator+(F a, F b) { MAMBA_LANES(a.v[i] + b.v[i]); }
MAMBA_INLINE F operator-(F a, F b) { MAMBA_LANES(a.v[i] - b.v[i]); }
MAMBA_INLINE F operator*(F a, F b) { MAMBA_LANES(a.v[i] * b.v[i]); }
MAMBA_INLINE F operator/(F a, F b) { MAMBA_LANES(a.v[i] / b.v[i]); }
MAMBA_INLINE F fma(F a, F b, F c) { MAMBA_LANES(a.v[i] * b.v[i] + c.v[i]); }
MAMBA_INLINE F max(F lo, F x) { MAMBA_LANES(lo.v[i] > x.v[i] ? lo.v[i] : x.v[i]); }
MAMBA_INLINE F min(F hi, F x) { MAMBA_LANES(hi.v[i] < x.v[i] ? hi.v[i] : x.v[i]); }
MAMBA_INLINE F square_root(F a) { MAMBA_LANES(sqrtf(a.v[i])); }
MAMBA_INLINE F abs(F a) { MAMBA_LANES(a.v[i] < 0 ? -a.v[i] : a.v[i]); }
MAMBA_INLINE F add_exponent(F p, F a) {
  uint32_t bits[4], exponent[4];
  memcpy(bits, p.v, sizeof bits);
  memcpy(exponent, a.v, sizeof exponent);
  for (int i = 0; i < 4; i++) bits[i] += exponent[i] << 23;
  memcpy(p.v, bits, sizeof bits);
  return p;
}
MAMBA_INLINE F blend(F x, F a, F b) { MAMBA_LANES(x.v[i] >= 0 ? a.v[i] : b.v[i]); }
MAMBA_INLINE void transpose(F* v) {
  for (int k = 0; k < 4; k++) {
    for (int i = 0; i < k; i++) {
      const float other = v[k].v[i];
      v[k].v[i] = v[i].v[k];
      v[i].v[k] = other;
    }
  }
}
MAMBA_INLINE F lane_sums(F* w) {
  MAMBA_LANES((w[i].v[0] + w[i].v[1]) + (w[i].v[2] + w[i].v[3]));
}
#undef MAMBA_LANES
