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
struct Split {
  F fraction, whole;
};
MAMBA_INLINE Split split(F x) {  // no limits: the fraction of an infinity is 0
  constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {{_mm512_reduce_ps(x.v, nearest)}, {_mm512_roundscale_ps(x.v, nearest)}};
}
MAMBA_INLINE F scale(F p, Split s) { return {_mm512_scalef_ps(p.v, s.whole.v)}; }
MAMBA_INLINE Split split_small(F x) { return split(x); }
MAMBA_INLINE F scale_small(F p, Split s) { return scale(p, s); }
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
MAMBA_INLINE void transpose(F* v) {
  __m512 t[16];  // t[4 g + k]: block b is column 4 b + k of rows 4 g to 4 g + 3
  for (int g = 0; g < 4; g++) {
    const __m512 r[4] = {v[4 * g].v, v[4 * g + 1].v, v[4 * g + 2].v, v[4 * g + 3].v};
    transpose4(r, t + 4 * g);
  }
  for (int k = 0; k < 4; k++) {
    const __m512 a = _mm512_shuffle_f32x4(t[k], t[4 + k], 0x44);
    const __m512 b = _mm512_shuffle_f32x4(t[k], t[4 + k], 0xEE);
    const __m512 c = _mm512_shuffle_f32x4(t[8 + k], t[12 + k], 0x44);
    const __m512 d = _mm512_shuffle_f32x4(t[8 + k], t[12 + k], 0xEE);
    v[k].v = _mm512_shuffle_f32x4(a, c, 0x88);
    v[4 + k].v = _mm512_shuffle_f32x4(a, c, 0xDD);
    v[8 + k].v = _mm512_shuffle_f32x4(b, d, 0x88);
    v[12 + k].v = _mm512_shuffle_f32x4(b, d, 0xDD);
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
