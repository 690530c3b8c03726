// NEON of arm64: 4 lanes. See simd.h.
struct F {
  static constexpr int width = 4;
  float32x4_t v;
  static F zero() { return {vdupq_n_f32(0.0f)}; }
};

MAMBA_INLINE F set1(float x) { return {vdupq_n_f32(x)}; }
MAMBA_INLINE F load(const float* p) { return {vld1q_f32(p)}; }
MAMBA_INLINE void store(float* p, F a) { vst1q_f32(p, a.v); }
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
MAMBA_INLINE F operator+(F a, F b) { return {vaddq_f32(a.v, b.v)}; }
MAMBA_INLINE F operator-(F a, F b) { return {vsubq_f32(a.v, b.v)}; }
MAMBA_INLINE F operator*(F a, F b) { return {vmulq_f32(a.v, b.v)}; }
MAMBA_INLINE F operator/(F a, F b) { return {vdivq_f32(a.v, b.v)}; }
MAMBA_INLINE F fma(F a, F b, F c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
MAMBA_INLINE F max(F lo, F x) { return {vmaxq_f32(lo.v, x.v)}; }
MAMBA_INLINE F min(F hi, F x) { return {vminq_f32(hi.v, x.v)}; }
MAMBA_INLINE F square_root(F a) { return {vsqrtq_f32(a.v)}; }
MAMBA_INLINE F abs(F a) { return {vabsq_f32(a.v)}; }
MAMBA_INLINE F add_exponent(F p, F a) {
  const int32x4_t exponent = vshlq_n_s32(vreinterpretq_s32_f32(a.v), 23);
  return {vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p.v), exponent))};
}
MAMBA_INLINE F blend(F x, F a, F b) { return {vbslq_f32(vcgezq_f32(x.v), a.v, b.v)}; }

MAMBA_INLINE void transpose(F* v) {
  const float32x4x2_t a = vtrnq_f32(v[0].v, v[1].v), b = vtrnq_f32(v[2].v, v[3].v);
  v[0].v = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
  v[1].v = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
  v[2].v = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
  v[3].v = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}
MAMBA_INLINE F lane_sums(F* v) {
  transpose(v);
  return (v[0] + v[1]) + (v[2] + v[3]);
}
