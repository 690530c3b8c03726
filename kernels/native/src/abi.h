// What Python hands over, field by field, as 64-bit words: mamba_kernels/backends/native/_abi.py
// packs the same fields in the same order. Plain data only.
#pragma once

#include <stdint.h>

struct Tensor {
  int64_t data;       // address; 0: absent
  int64_t dtype;      // see Dtype
  int64_t stride[5];  // in elements, one for each dimension the field's comment names; 0: broadcast
};

enum Dtype : int64_t { FLOAT32 = 0, BFLOAT16 = 1, FLOAT16 = 2, INT64 = 3 };

// Letters: b batch, k path, d channel, g group, n state, t token, h head, p channel of a head,
// r row (batch item or packed sequence), w tap. `edges` holds the sequences + 1 borders of packed
// sequences, or {0, length}. `order` (b, k, t) may be absent; then paths is 1.

struct SelectiveScan {
  Tensor u, delta, z;          // (b, k, d, t); k is broadcast where the paths share a tensor
  Tensor A;                    // (k, d, n)
  Tensor B, C;                 // (b, k, g, n, t)
  Tensor D, delta_bias;        // (k, d)
  Tensor initial;              // (r, k, d, n)
  Tensor order;                // (b, k, t)
  Tensor out;                  // (b, k, d, t)
  Tensor last;                 // (r, k, d, n)
  Tensor saved;                // (b, k, slot, n, d): states at the borders of blocks of time
  Tensor packed;               // (2, b, k, g, t, n) float32 workspace: B and C in scan order
  Tensor edges;                // (sequences + 1)
  Tensor dout, dlast;          // like out, last
  Tensor du, ddelta, dz;       // (b, k, d, t) float32; du and dz may broadcast k
  Tensor dA;                   // (b, k, d, n) float32
  Tensor dB, dC;               // (shard, b, k, g, n, t) float32 zeros, in scan order: contiguous
  Tensor dD, dbias;            // (b, k, d) float32
  Tensor dinitial;             // (r, k, d, n) float32
  int64_t batch, paths, channels, groups, states, length, sequences, shards, softplus;
};

struct Ssd {
  Tensor x, z;                 // (b, k, t, h, p)
  Tensor dt;                   // (b, k, t, h)
  Tensor A, dt_bias;           // (k, h)
  Tensor B, C;                 // (b, k, t, g, n)
  Tensor D;                    // (k, h, p)
  Tensor initial;              // (r, k, h, p, n)
  Tensor order;                // (b, k, t)
  Tensor out;                  // (b, k, t, h, p)
  Tensor last;                 // (r, k, h, p, n)
  Tensor saved;                // (b, k, slot, h) states (n, p) float32, between spans of time
  Tensor edges;                // (sequences + 1)
  Tensor dout, dlast;          // like out, last
  Tensor dx, dz;               // (b, k, t, h, p) float32; may broadcast k
  Tensor ddt;                  // (b, k, t, h) float32
  Tensor dA, dbias;            // (b, k, h) float32
  Tensor dB, dC;               // (b, k, t, g, n) float32, one after another for each shard
  Tensor dD;                   // (b, k, h, p) float32
  Tensor dinitial;             // (r, k, h, p, n) float32
  int64_t batch, paths, heads, groups, width, states, length, sequences, shards, softplus;
  double dt_min, dt_max;
};

struct Conv {
  Tensor x;                    // (b, k, d, t)
  Tensor weight;               // (k, d, w)
  Tensor bias;                 // (k, d)
  Tensor initial;              // (r, k, d, w - 1)
  Tensor order;                // (b, k, t)
  Tensor out;                  // (b, k, d, t)
  Tensor last;                 // (r, k, d, w - 1)
  Tensor edges;                // (sequences + 1)
  Tensor dout, dlast;          // like out, last
  Tensor dx;                   // (b, k, d, t) float32; may broadcast k
  Tensor dweight;              // (b, k, d, w) float32
  Tensor dbias;                // (b, k, d) float32
  Tensor dinitial;             // (r, k, d, w - 1) float32
  int64_t batch, paths, channels, width, length, sequences, silu;
};

struct Norm {
  Tensor x, z, out;            // (row, d); out contiguous
  Tensor weight, bias;         // (-, d)
  Tensor dout, dx, dz;         // (row, d); dx and dz contiguous float32
  Tensor dweight, dbias;       // (shard, d) float32, contiguous
  int64_t rows, channels, group_size, norm_before_gate, shards;
  double eps;
};

struct Step {
  Tensor state;                // (r, h, p, n), changed in place
  Tensor x, dt, z, out;        // (b, h, p, t)
  Tensor A;                    // (h, p, n)
  Tensor B, C;                 // (b, g, n, t)
  Tensor D, dt_bias;           // (h, p)
  Tensor indices;              // (b): rows of the state; absent: row b
  int64_t batch, heads, groups, width, states, tokens, softplus;
};

struct ConvStep {
  Tensor x, out;               // (b, d, t)
  Tensor state;                // (r, d, kept), changed in place
  Tensor weight;               // (d, w)
  Tensor bias;                 // (d)
  Tensor indices;              // (b): rows of the state; absent: row b
  int64_t batch, channels, width, kept, steps, silu;
};

// One instruction set's kernels. A call is cut into items that any thread may do in any order;
// `plan` says how many there are and how many floats of scratch a thread needs.
struct Kernel {
  void (*plan)(const void* call, int64_t* items, int64_t* scratch);
  void (*run)(const void* call, int64_t item, float* scratch);
};

struct Kernels {
  Kernel scan_pack, scan_forward, scan_backward, ssd_forward, ssd_backward;
  Kernel conv_forward, conv_backward;
  Kernel norm_forward, norm_backward;
  Kernel step, conv_step;
};
