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
MAMBA_INLINE F round(F a) { return {vrndnq_f32(a.v)}; }
MAMBA_INLINE F scale(F p, F n) {
  const int32x4_t e = vaddq_s32(vcvtnq_s32_f32(n.v), vdupq_n_s32(127));
  return {vmulq_f32(p.v, vreinterpretq_f32_s32(vshlq_n_s32(e, 23)))};
}
MAMBA_INLINE F blend(F x, F a, F b) { return {vbslq_f32(vcgezq_f32(x.v), a.v, b.v)}; }

MAMBA_INLINE void transpose4(const F* r, F* o) {
  const float32x4x2_t a = vtrnq_f32(r[0].v, r[1].v), b = vtrnq_f32(r[2].v, r[3].v);
  o[0].v = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
  o[1].v = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
  o[2].v = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
  o[3].v = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
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
