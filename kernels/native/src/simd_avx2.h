// AVX2 and FMA: 8 lanes. See simd.h.
struct F {
  static constexpr int width = 8;
  __m256 v;
  static F zero() { return {_mm256_setzero_ps()}; }
};

MAMBA_INLINE __m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
MAMBA_INLINE F set1(float x) { return {_mm256_set1_ps(x)}; }
MAMBA_INLINE F load(const float* p) { return {_mm256_loadu_ps(p)}; }
MAMBA_INLINE void store(float* p, F a) { _mm256_storeu_ps(p, a.v); }
MAMBA_INLINE F load_n(const float* p, int n) { return {_mm256_maskload_ps(p, first_lanes(n))}; }
MAMBA_INLINE void store_n(float* p, F a, int n) { _mm256_maskstore_ps(p, first_lanes(n), a.v); }
MAMBA_INLINE F operator+(F a, F b) { return {_mm256_add_ps(a.v, b.v)}; }
MAMBA_INLINE F operator-(F a, F b) { return {_mm256_sub_ps(a.v, b.v)}; }
MAMBA_INLINE F operator*(F a, F b) { return {_mm256_mul_ps(a.v, b.v)}; }
MAMBA_INLINE F operator/(F a, F b) { return {_mm256_div_ps(a.v, b.v)}; }
MAMBA_INLINE F fma(F a, F b, F c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
MAMBA_INLINE F max(F lo, F x) { return {_mm256_max_ps(lo.v, x.v)}; }
MAMBA_INLINE F min(F hi, F x) { return {_mm256_min_ps(hi.v, x.v)}; }
MAMBA_INLINE F square_root(F a) { return {_mm256_sqrt_ps(a.v)}; }
MAMBA_INLINE F abs(F a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
MAMBA_INLINE F add_exponent(F p, F a) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(a.v), 23);
  return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p.v), exponent))};
}
MAMBA_INLINE F blend(F x, F a, F b) {
  return {_mm256_blendv_ps(b.v, a.v, _mm256_cmp_ps(x.v, _mm256_setzero_ps(), _CMP_GE_OQ))};
}

MAMBA_INLINE void transpose4(const __m256* r, __m256* o) {  // within each 128-bit block
  const __m256 a = _mm256_unpacklo_ps(r[0], r[1]), b = _mm256_unpackhi_ps(r[0], r[1]);
  const __m256 c = _mm256_unpacklo_ps(r[2], r[3]), d = _mm256_unpackhi_ps(r[2], r[3]);
  o[0] = _mm256_shuffle_ps(a, c, 0x44);
  o[1] = _mm256_shuffle_ps(a, c, 0xEE);
  o[2] = _mm256_shuffle_ps(b, d, 0x44);
  o[3] = _mm256_shuffle_ps(b, d, 0xEE);
}
MAMBA_INLINE void transpose(F* v) {
  const __m256 low[4] = {v[0].v, v[1].v, v[2].v, v[3].v};
  const __m256 high[4] = {v[4].v, v[5].v, v[6].v, v[7].v};
  __m256 a[4], b[4];  // block i is column 4 i + k of four rows
  transpose4(low, a);
  transpose4(high, b);
  for (int k = 0; k < 4; k++) {
    v[k].v = _mm256_permute2f128_ps(a[k], b[k], 0x20);
    v[4 + k].v = _mm256_permute2f128_ps(a[k], b[k], 0x31);
  }
}
MAMBA_INLINE F lane_sums(F* v) {
  __m256 a[4], b[2];
  for (int i = 0; i < 4; i++) {
    const __m256 x = v[2 * i].v, y = v[2 * i + 1].v;
    a[i] = _mm256_add_ps(_mm256_unpacklo_ps(x, y), _mm256_unpackhi_ps(x, y));
  }
  for (int i = 0; i < 2; i++) {
    const __m256 x = a[2 * i], y = a[2 * i + 1];
    b[i] = _mm256_add_ps(_mm256_shuffle_ps(x, y, 0x44), _mm256_shuffle_ps(x, y, 0xEE));
  }
  return {_mm256_add_ps(_mm256_permute2f128_ps(b[0], b[1], 0x20),
                        _mm256_permute2f128_ps(b[0], b[1], 0x31))};
}
