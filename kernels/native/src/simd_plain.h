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
MAMBA_INLINE int32_t nearest(float x) {  // for |x| < 2^31; a NaN has no integer
  return x == x ? static_cast<int32_t>(x < 0 ? x - 0.5f : x + 0.5f) : 0;
}
MAMBA_INLINE F round(F a) { MAMBA_LANES(static_cast<float>(nearest(a.v[i]))); }
MAMBA_INLINE F scale(F p, F n) {
  F o;
  for (int i = 0; i < 4; i++) {
    const uint32_t bits = static_cast<uint32_t>(nearest(n.v[i]) + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    o.v[i] = p.v[i] * power;
  }
  return o;
}
MAMBA_INLINE F blend(F x, F a, F b) { MAMBA_LANES(x.v[i] >= 0 ? a.v[i] : b.v[i]); }
MAMBA_INLINE void load_rows4(const float* p, ptrdiff_t s, F* o) {
  for (int k = 0; k < 4; k++)
    for (int i = 0; i < 4; i++) o[k].v[i] = p[i * s + k];
}
MAMBA_INLINE void store_rows4(float* p, ptrdiff_t s, const F* o) {
  for (int k = 0; k < 4; k++)
    for (int i = 0; i < 4; i++) p[i * s + k] = o[k].v[i];
}
MAMBA_INLINE F lane_sums(F* w) {
  MAMBA_LANES((w[i].v[0] + w[i].v[1]) + (w[i].v[2] + w[i].v[3]));
}
#undef MAMBA_LANES
