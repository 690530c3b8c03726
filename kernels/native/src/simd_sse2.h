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
MAMBA_INLINE F add_exponent(F p, F a) {
  const __m128i exponent = _mm_slli_epi32(_mm_castps_si128(a.v), 23);
  return {_mm_castsi128_ps(_mm_add_epi32(_mm_castps_si128(p.v), exponent))};
}
MAMBA_INLINE F blend(F x, F a, F b) {
  const __m128 m = _mm_cmpge_ps(x.v, _mm_setzero_ps());
  return {_mm_or_ps(_mm_and_ps(m, a.v), _mm_andnot_ps(m, b.v))};
}

MAMBA_INLINE void transpose(F* v) {
  const __m128 a = _mm_unpacklo_ps(v[0].v, v[1].v), b = _mm_unpackhi_ps(v[0].v, v[1].v);
  const __m128 c = _mm_unpacklo_ps(v[2].v, v[3].v), d = _mm_unpackhi_ps(v[2].v, v[3].v);
  v[0].v = _mm_movelh_ps(a, c);
  v[1].v = _mm_movehl_ps(c, a);
  v[2].v = _mm_movelh_ps(b, d);
  v[3].v = _mm_movehl_ps(d, b);
}
MAMBA_INLINE F lane_sums(F* v) {
  transpose(v);
  return (v[0] + v[1]) + (v[2] + v[3]);
}
