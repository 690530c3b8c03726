// Whether an order can be trusted with memory: an index out of range would write anywhere.
#pragma once

#include <stdint.h>

#include <vector>

inline bool order_is_good(const int64_t* order, int64_t rows, int64_t length, const int64_t* edges,
                          int64_t sequences) {
  std::vector<int64_t> seen(static_cast<size_t>(length), -1);
  for (int64_t row = 0; row < rows; row++) {
    const int64_t* path = order + row * length;
    for (int64_t s = 0; s < sequences; s++) {
      for (int64_t t = edges[s]; t < edges[s + 1]; t++) {
        const int64_t token = path[t];
        if (token < edges[s] || token >= edges[s + 1] || seen[static_cast<size_t>(token)] == row)
          return false;
        seen[static_cast<size_t>(token)] = row;
      }
    }
  }
  return true;
}
