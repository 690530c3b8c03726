// AVX-512 F, DQ, VL: 16 lanes. See simd.h.
struct F {
  static constexpr int width = 16;
  __m512 v;
  static F zero() { return {_mm512_setzero_ps()}; }
};

MAMBA_INLINE F set1(float x) { return {_mm512_set1_ps(x)}; }
MAMBA_INLINE F load(const float* p) { return {_mm512_loadu_ps(p)}; }
MAMBA_INLINE void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
MAMBA_INLINE F load_n(const float* p, int n) {
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p)};
}
MAMBA_INLINE void store_n(float* p, F a, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), a.v);
}
MAMBA_INLINE F operator+(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
MAMBA_INLINE F operator-(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
MAMBA_INLINE F operator*(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
MAMBA_INLINE F operator/(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
MAMBA_INLINE F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
MAMBA_INLINE F max(F lo, F x) { return {_mm512_max_ps(lo.v, x.v)}; }
MAMBA_INLINE F min(F hi, F x) { return {_mm512_min_ps(hi.v, x.v)}; }
MAMBA_INLINE F square_root(F a) { return {_mm512_sqrt_ps(a.v)}; }
MAMBA_INLINE F abs(F a) { return {_mm512_abs_ps(a.v)}; }
MAMBA_INLINE F round(F a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
MAMBA_INLINE F scale(F p, F n) { return {_mm512_scalef_ps(p.v, n.v)}; }
MAMBA_INLINE F blend(F x, F a, F b) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(x.v, _mm512_setzero_ps(), _CMP_GE_OQ), b.v, a.v)};
}

MAMBA_INLINE void transpose4(const __m512* r, __m512* o) {  // within each 128-bit block
  const __m512 a = _mm512_unpacklo_ps(r[0], r[1]), b = _mm512_unpackhi_ps(r[0], r[1]);
  const __m512 c = _mm512_unpacklo_ps(r[2], r[3]), d = _mm512_unpackhi_ps(r[2], r[3]);
  o[0] = _mm512_shuffle_ps(a, c, 0x44);
  o[1] = _mm512_shuffle_ps(a, c, 0xEE);
  o[2] = _mm512_shuffle_ps(b, d, 0x44);
  o[3] = _mm512_shuffle_ps(b, d, 0xEE);
}
MAMBA_INLINE void load_rows4(const float* p, ptrdiff_t s, F* o) {
  __m512 r[4], t[4];
  for (int i = 0; i < 4; i++) {
    r[i] = _mm512_castps128_ps512(_mm_loadu_ps(p + i * s));
    r[i] = _mm512_insertf32x4(r[i], _mm_loadu_ps(p + (i + 4) * s), 1);
    r[i] = _mm512_insertf32x4(r[i], _mm_loadu_ps(p + (i + 8) * s), 2);
    r[i] = _mm512_insertf32x4(r[i], _mm_loadu_ps(p + (i + 12) * s), 3);
  }
  transpose4(r, t);
  for (int i = 0; i < 4; i++) o[i].v = t[i];
}
MAMBA_INLINE void store_rows4(float* p, ptrdiff_t s, const F* o) {
  const __m512 r[4] = {o[0].v, o[1].v, o[2].v, o[3].v};
  __m512 t[4];
  transpose4(r, t);
  for (int i = 0; i < 4; i++) {
    _mm_storeu_ps(p + i * s, _mm512_castps512_ps128(t[i]));
    _mm_storeu_ps(p + (i + 4) * s, _mm512_extractf32x4_ps(t[i], 1));
    _mm_storeu_ps(p + (i + 8) * s, _mm512_extractf32x4_ps(t[i], 2));
    _mm_storeu_ps(p + (i + 12) * s, _mm512_extractf32x4_ps(t[i], 3));
  }
}
MAMBA_INLINE F lane_sums(F* v) {
  __m512 a[8], b[4];
  for (int i = 0; i < 8; i++) {
    const __m512 x = v[2 * i].v, y = v[2 * i + 1].v;
    a[i] = _mm512_add_ps(_mm512_unpacklo_ps(x, y), _mm512_unpackhi_ps(x, y));
  }
  for (int i = 0; i < 4; i++) {
    const __m512 x = a[2 * i], y = a[2 * i + 1];
    b[i] = _mm512_add_ps(_mm512_shuffle_ps(x, y, 0x44), _mm512_shuffle_ps(x, y, 0xEE));
  }
  for (int i = 0; i < 2; i++) {
    const __m512 x = b[2 * i], y = b[2 * i + 1];
    a[i] = _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xDD));
  }
  return {_mm512_add_ps(_mm512_shuffle_f32x4(a[0], a[1], 0x88),
                        _mm512_shuffle_f32x4(a[0], a[1], 0xDD))};
}
