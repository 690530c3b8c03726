// SSE2, which every x86-64 has: 4 lanes. See simd.h.
struct F {
  static constexpr int width = 4;
  __m128 v;
  static F zero() { return {_mm_setzero_ps()}; }
};

MAMBA_INLINE F set1(float x) { return {_mm_set1_ps(x)}; }
MAMBA_INLINE F load(const float* p) { return {_mm_loadu_ps(p)}; }
MAMBA_INLINE void store(float* p, F a) { _mm_storeu_ps(p, a.v); }
MAMBA_INLINE F load_n(const float* p, int n) {
  float t[4] = {0, 0, 0, 0};
  for (int i = 0; i < n; i++) t[i] = p[i];
  return load(t);
}
MAMBA_INLINE void store_n(float* p, F a, int n) {
  float t[4];
  store(t, a);
  for (int i = 0; i < n; i++) p[i] = t[i];
}
MAMBA_INLINE F operator+(F a, F b) { return {_mm_add_ps(a.v, b.v)}; }
MAMBA_INLINE F operator-(F a, F b) { return {_mm_sub_ps(a.v, b.v)}; }
MAMBA_INLINE F operator*(F a, F b) { return {_mm_mul_ps(a.v, b.v)}; }
MAMBA_INLINE F operator/(F a, F b) { return {_mm_div_ps(a.v, b.v)}; }
MAMBA_INLINE F fma(F a, F b, F c) { return {_mm_add_ps(_mm_mul_ps(a.v, b.v), c.v)}; }
MAMBA_INLINE F max(F lo, F x) { return {_mm_max_ps(lo.v, x.v)}; }
MAMBA_INLINE F min(F hi, F x) { return {_mm_min_ps(hi.v, x.v)}; }
MAMBA_INLINE F square_root(F a) { return {_mm_sqrt_ps(a.v)}; }
MAMBA_INLINE F abs(F a) { return {_mm_andnot_ps(_mm_set1_ps(-0.0f), a.v)}; }
MAMBA_INLINE F round(F a) { return {_mm_cvtepi32_ps(_mm_cvtps_epi32(a.v))}; }  // |a| < 2^31
MAMBA_INLINE F scale(F p, F n) {
  const __m128i e = _mm_add_epi32(_mm_cvtps_epi32(n.v), _mm_set1_epi32(127));
  return {_mm_mul_ps(p.v, _mm_castsi128_ps(_mm_slli_epi32(e, 23)))};
}
MAMBA_INLINE F blend(F x, F a, F b) {
  const __m128 m = _mm_cmpge_ps(x.v, _mm_setzero_ps());
  return {_mm_or_ps(_mm_and_ps(m, a.v), _mm_andnot_ps(m, b.v))};
}

MAMBA_INLINE void transpose4(const F* r, F* o) {
  const __m128 a = _mm_unpacklo_ps(r[0].v, r[1].v), b = _mm_unpackhi_ps(r[0].v, r[1].v);
  const __m128 c = _mm_unpacklo_ps(r[2].v, r[3].v), d = _mm_unpackhi_ps(r[2].v, r[3].v);
  o[0].v = _mm_movelh_ps(a, c);
  o[1].v = _mm_movehl_ps(c, a);
  o[2].v = _mm_movelh_ps(b, d);
  o[3].v = _mm_movehl_ps(d, b);
}
MAMBA_INLINE void load_rows4(const float* p, ptrdiff_t s, F* o) {
  const F r[4] = {load(p), load(p + s), load(p + 2 * s), load(p + 3 * s)};
  transpose4(r, o);
}
MAMBA_INLINE void store_rows4(float* p, ptrdiff_t s, const F* o) {
  F t[4];
  transpose4(o, t);
  for (int i = 0; i < 4; i++) store(p + i * s, t[i]);
}
MAMBA_INLINE F lane_sums(F* v) {
  F t[4];
  transpose4(v, t);
  return (t[0] + t[1]) + (t[2] + t[3]);
}
