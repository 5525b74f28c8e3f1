// Group normalization of float32 and bfloat16 tensors with the channels last, forward and backward, on the CPU.
//
// What is read as bfloat16 is computed in float32, and rounded once, where it is written.
//
// The arithmetic is that of gnexp.group_normalization.normalize: sums of x - pivot and of its square. The pivot of a group is
// first the mean of the sample's first position; where that proves to be far from the mean of all, it becomes that mean, and
// the sums are taken again. They are taken block by block in float32 and added up in double. What a thread does never changes
// the order of a sum, so the results do not depend on the number of threads.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace gnexp {

using tensorflow::bfloat16;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// A vector register, or two or four of them where they are narrower.
typedef float Vector __attribute__((vector_size(64)));
typedef uint32_t Bits __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));
constexpr int kLanes = 16;
constexpr int kBlockFloats = 4096;  // half of a first-level cache
constexpr double kFar = 4;          // how many variances the square of a pivot's distance from the mean may be

// Calls body(c, Vector()) for whole vectors of channels, and body(c, 0.0f) for each channel that is left.
template <typename Body>
inline void ForChannels(int64_t channels, const Body& body) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) body(c, Vector());
  for (; c < channels; ++c) body(c, 0.0f);
}

template <typename T>
inline T Load(const float* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <typename T>
inline void Store(float* to, T value) {
  std::memcpy(to, &value, sizeof(T));
}

// A bfloat16 is the upper half of a float32.
template <typename T>
inline T Load(const bfloat16* from);

template <>
inline float Load<float>(const bfloat16* from) {
  return static_cast<float>(*from);
}

template <>
inline Vector Load<Vector>(const bfloat16* from) {
  Halves halves;
  std::memcpy(&halves, from, sizeof(halves));
  const Bits bits = __builtin_convertvector(halves, Bits) << 16;
  Vector value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline void Store(bfloat16* to, float value) { *to = static_cast<bfloat16>(value); }

// Rounds to the nearest, ties to even, as static_cast does; a NaN stays one.
inline void Store(bfloat16* to, Vector value) {
  Bits bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const Bits is_nan = (Bits)((bits & 0x7fffffffu) > 0x7f800000u);
  const Bits rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const Halves halves = __builtin_convertvector((is_nan & 0x7fc0u) | (~is_nan & rounded), Halves);
  std::memcpy(to, &halves, sizeof(halves));
}

// The sums over a block of positions: of x - pivot and its square or, given dy, of dy and dy * (x - pivot).
template <typename X>
void BlockSums(const X* x, const X* dy, const float* pivot, int64_t positions, int64_t channels,
               float* __restrict__ sums, float* __restrict__ products) {
  ForChannels(channels, [&](int64_t c, auto zero) {
    using T = decltype(zero);
    const T p = Load<T>(pivot + c);
    T sum = zero - zero, product = zero - zero;
    for (int64_t i = c; i < positions * channels; i += channels) {
      const T centered = Load<T>(x + i) - p;
      const T value = dy ? Load<T>(dy + i) : centered;
      sum += value;
      product += value * centered;
    }
    Store(sums + c, sum);
    Store(products + c, product);
  });
}

// The input: `samples` times `positions` times `channels` values.
struct Work {
  int64_t samples, positions, channels, groups;

  Work(const TensorShape& shape, int64_t groups)
      : samples(shape.dim_size(0)), positions(1), channels(shape.dim_size(shape.dims() - 1)), groups(groups) {
    for (int i = 1; i + 1 < shape.dims(); ++i) positions *= shape.dim_size(i);
  }

  int64_t size() const { return channels / groups; }
  double count() const { return std::max<double>(1, positions * size()); }
  int64_t block() const { return std::max<int64_t>(1, kBlockFloats / channels); }
  int64_t blocks() const { return (positions + block() - 1) / block(); }
  int64_t positions_of(int64_t b) const { return std::min(block(), positions - b * block()); }
  int64_t offset(int64_t n, int64_t b) const { return (n * positions + b * block()) * channels; }

  template <typename X>
  void FirstPivot(const X* x, int64_t n, float* pivot) const {
    const X* position = x + n * positions * channels;
    for (int64_t g = 0; g < groups; ++g) {
      double sum = 0;
      for (int64_t c = g * size(); positions && c < (g + 1) * size(); ++c) sum += static_cast<float>(position[c]);
      pivot[g] = sum / size();
    }
  }

  // Copies each group's value to its channels.
  void Spread(const float* of_groups, float* of_channels) const {
    for (int64_t g = 0; g < groups; ++g) std::fill_n(of_channels + g * size(), size(), of_groups[g]);
  }

  // Runs sums(n, b, row of 2 * channels floats) for each block of a sample, then combine(n, 2 * channels doubles, first) for
  // the sample; both once more if combine returns true the first time. Last, it runs write(n, b) for each block. A thread
  // takes whole samples, which stay in the cache, if there are enough for all threads, and otherwise single blocks.
  template <typename Sums, typename Combine, typename Write>
  void Run(OpKernelContext* context, const Sums& sums, const Combine& combine, const Write& write) const {
    auto* workers = context->device()->tensorflow_cpu_worker_threads()->workers;
    const int64_t cost = 4 * std::min(block(), positions) * channels / kLanes;
    const int64_t row = 2 * channels;
    auto add = [&](const float* values, std::vector<double>& total) {
      for (int64_t c = 0; c < row; ++c) total[c] += values[c];
    };
    if (samples >= workers->NumThreads()) {
      workers->ParallelFor(samples, 2 * cost * blocks(), [&](int64_t begin, int64_t end) {
        std::vector<float> values(row);
        std::vector<double> total(row);
        for (int64_t n = begin; n < end; ++n) {
          for (bool first = true, again = true; again; first = false) {
            std::fill(total.begin(), total.end(), 0.0);
            for (int64_t b = 0; b < blocks(); ++b) {
              sums(n, b, values.data());
              add(values.data(), total);
            }
            again = combine(n, total.data(), first);
          }
          for (int64_t b = 0; b < blocks(); ++b) write(n, b);
        }
      });
      return;
    }
    std::vector<float> values(blocks() * row);
    std::vector<double> total(row);
    for (int64_t n = 0; n < samples; ++n) {
      for (bool first = true, again = true; again; first = false) {
        workers->ParallelFor(blocks(), cost, [&](int64_t begin, int64_t end) {
          for (int64_t b = begin; b < end; ++b) sums(n, b, &values[b * row]);
        });
        std::fill(total.begin(), total.end(), 0.0);
        for (int64_t b = 0; b < blocks(); ++b) add(&values[b * row], total);
        again = combine(n, total.data(), first);
      }
      workers->ParallelFor(blocks(), cost, [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b) write(n, b);
      });
    }
  }
};

// Refuses inputs that would be read beyond their end.
void Check(OpKernelContext* context, const Tensor& x, int64_t groups, std::initializer_list<int> of_channels) {
  const int64_t channels = x.dims() < 2 ? 0 : x.dim_size(x.dims() - 1);
  OP_REQUIRES(context, groups > 0 && channels > 0 && channels % groups == 0,
              absl::InvalidArgumentError("the channels of x, its last axis of two or more, are no multiple of groups"));
  for (int i : of_channels) {
    OP_REQUIRES(context, context->input(i).shape() == TensorShape({channels}),
                absl::InvalidArgumentError("gamma and beta must be of shape (channels,)"));
  }
}

template <typename X>
class GroupNormalization : public OpKernel {
 public:
  explicit GroupNormalization(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("groups", &groups_));
    OP_REQUIRES_OK(construction, construction->GetAttr("epsilon", &epsilon_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& input = context->input(0);
    Check(context, input, groups_, {1, 2});
    if (!context->status().ok()) return;
    const Work work(input.shape(), groups_);
    const int64_t channels = work.channels, size = work.size();
    Tensor *output, *pivots, *means, *inverses;
    OP_REQUIRES_OK(context, context->allocate_output(0, input.shape(), &output));
    OP_REQUIRES_OK(context, context->allocate_output(1, TensorShape({work.samples, groups_}), &pivots));
    OP_REQUIRES_OK(context, context->allocate_output(2, TensorShape({work.samples, groups_}), &means));
    OP_REQUIRES_OK(context, context->allocate_output(3, TensorShape({work.samples, groups_}), &inverses));
    const X* x = input.flat<X>().data();
    const float* gamma = context->input(1).flat<float>().data();
    const float* beta = context->input(2).flat<float>().data();
    X* y = output->flat<X>().data();
    float* pivots_of = pivots->flat<float>().data();
    float* mean = means->flat<float>().data();
    float* inverse = inverses->flat<float>().data();
    const int64_t row = 3 * channels;  // of each sample: pivot, scale, shift
    std::vector<float> rows(work.samples * row);
    for (int64_t n = 0; n < work.samples; ++n) {
      work.FirstPivot(x, n, pivots_of + n * groups_);
      work.Spread(pivots_of + n * groups_, &rows[n * row]);
    }

    auto sums = [&](int64_t n, int64_t b, float* to) {
      BlockSums<X>(x + work.offset(n, b), nullptr, &rows[n * row], work.positions_of(b), channels, to, to + channels);
    };
    auto combine = [&](int64_t n, const double* total, bool first) {
      const double count = work.count();
      float *pivot = pivots_of + n * groups_, *scale = &rows[n * row + channels], *shift = scale + channels;
      bool far = false;
      for (int64_t g = 0; g < groups_; ++g) {
        double sum = 0, squares = 0;
        for (int64_t c = g * size; c < (g + 1) * size; ++c) {
          sum += total[c];
          squares += total[channels + c];
        }
        const double m = sum / count;
        const double variance = squares / count - m * m;
        // Unlike std::max(0, variance), this keeps a NaN.
        const double i = 1 / std::sqrt((variance < 0 ? 0 : variance) + epsilon_);
        mean[n * groups_ + g] = m;
        inverse[n * groups_ + g] = i;
        for (int64_t c = g * size; c < (g + 1) * size; ++c) {
          scale[c] = i * gamma[c];
          shift[c] = beta[c] - m * i * gamma[c];
        }
        if (first && m * m > kFar * variance) {
          far = true;
          pivot[g] += m;
        }
      }
      if (far) work.Spread(pivot, &rows[n * row]);
      return far;
    };
    auto write = [&](int64_t n, int64_t b) {
      const X* from = x + work.offset(n, b);
      const float* pivot = &rows[n * row];
      const float *scale = pivot + channels, *shift = scale + channels;
      X* to = y + work.offset(n, b);
      for (int64_t i = 0; i < work.positions_of(b); ++i, from += channels, to += channels) {
        ForChannels(channels, [&](int64_t c, auto zero) {
          using T = decltype(zero);
          Store(to + c, (Load<T>(from + c) - Load<T>(pivot + c)) * Load<T>(scale + c) + Load<T>(shift + c));
        });
      }
    };
    work.Run(context, sums, combine, write);
  }

 private:
  int64_t groups_;
  float epsilon_;
};

template <typename X>
class GroupNormalizationGrad : public OpKernel {
 public:
  explicit GroupNormalizationGrad(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("groups", &groups_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& input = context->input(1);
    Check(context, input, groups_, {2});
    if (!context->status().ok()) return;
    OP_REQUIRES(context, context->input(0).shape() == input.shape(), absl::InvalidArgumentError("dy is not like x"));
    for (int i : {3, 4, 5}) {
      OP_REQUIRES(context, context->input(i).shape() == TensorShape({input.dim_size(0), groups_}),
                  absl::InvalidArgumentError("pivot, mean and inverse must be of shape (batch, groups)"));
    }
    const Work work(input.shape(), groups_);
    const int64_t channels = work.channels, size = work.size();
    Tensor *output, *dgammas, *dbetas;
    // dx may reuse the memory of dy: each element of dx is written after the last read of that element of dy.
    OP_REQUIRES_OK(context, context->forward_input_or_allocate_output({0}, 0, input.shape(), &output));
    OP_REQUIRES_OK(context, context->allocate_output(1, TensorShape({channels}), &dgammas));
    OP_REQUIRES_OK(context, context->allocate_output(2, TensorShape({channels}), &dbetas));
    const X* dy = context->input(0).flat<X>().data();
    const X* x = input.flat<X>().data();
    const float* gamma = context->input(2).flat<float>().data();
    const float* pivots = context->input(3).flat<float>().data();
    const float* mean = context->input(4).flat<float>().data();
    const float* inverse = context->input(5).flat<float>().data();
    X* dx = output->flat<X>().data();
    const int64_t row = 4 * channels;  // of each sample: pivot, and the factors of dy, of x - pivot and of 1
    std::vector<float> rows(work.samples * row);
    std::vector<double> dgamma(work.samples * channels), dbeta(work.samples * channels);
    for (int64_t n = 0; n < work.samples; ++n) work.Spread(pivots + n * groups_, &rows[n * row]);

    auto sums = [&](int64_t n, int64_t b, float* to) {
      const int64_t offset = work.offset(n, b);
      BlockSums<X>(x + offset, dy + offset, &rows[n * row], work.positions_of(b), channels, to, to + channels);
    };
    auto combine = [&](int64_t n, const double* total, bool) {
      const double count = work.count();
      float *of_dy = &rows[n * row + channels], *of_x = of_dy + channels, *of_one = of_x + channels;
      for (int64_t g = 0; g < groups_; ++g) {
        const double m = mean[n * groups_ + g], i = inverse[n * groups_ + g];
        double sum = 0, product = 0;
        for (int64_t c = g * size; c < (g + 1) * size; ++c) {
          dbeta[n * channels + c] = total[c];
          dgamma[n * channels + c] = (total[channels + c] - m * total[c]) * i;
          of_dy[c] = gamma[c] * i;
          sum += of_dy[c] * dbeta[n * channels + c];
          product += gamma[c] * dgamma[n * channels + c];
        }
        const double factor = -product * i * i / count;
        for (int64_t c = g * size; c < (g + 1) * size; ++c) {
          of_x[c] = factor;
          of_one[c] = -sum / count - factor * m;
        }
      }
      return false;
    };
    auto write = [&](int64_t n, int64_t b) {
      const int64_t offset = work.offset(n, b);
      const X *from = x + offset, *gradient = dy + offset;
      const float* pivot = &rows[n * row];
      const float *of_dy = pivot + channels, *of_x = of_dy + channels, *of_one = of_x + channels;
      X* to = dx + offset;
      for (int64_t i = 0; i < work.positions_of(b); ++i) {
        ForChannels(channels, [&](int64_t c, auto zero) {
          using T = decltype(zero);
          const T centered = Load<T>(from + c) - Load<T>(pivot + c);
          Store(to + c, Load<T>(gradient + c) * Load<T>(of_dy + c) +
                            (centered * Load<T>(of_x + c) + Load<T>(of_one + c)));
        });
        from += channels, gradient += channels, to += channels;
      }
    };
    work.Run(context, sums, combine, write);

    for (int64_t c = 0; c < channels; ++c) {
      double sum_gamma = 0, sum_beta = 0;
      for (int64_t n = 0; n < work.samples; ++n) {
        sum_gamma += dgamma[n * channels + c];
        sum_beta += dbeta[n * channels + c];
      }
      dgammas->flat<float>()(c) = sum_gamma;
      dbetas->flat<float>()(c) = sum_beta;
    }
  }

 private:
  int64_t groups_;
};

REGISTER_OP("GnexpGroupNormalization")
    .Input("x: T")
    .Input("gamma: float")
    .Input("beta: float")
    .Output("y: T")
    .Output("pivot: float")
    .Output("mean: float")
    .Output("inverse: float")
    .Attr("T: {float, bfloat16}")
    .Attr("groups: int >= 1")
    .Attr("epsilon: float")
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* inference) {
      inference->set_output(0, inference->input(0));
      return absl::OkStatus();
    });

REGISTER_OP("GnexpGroupNormalizationGrad")
    .Input("dy: T")
    .Input("x: T")
    .Input("gamma: float")
    .Input("pivot: float")
    .Input("mean: float")
    .Input("inverse: float")
    .Output("dx: T")
    .Output("dgamma: float")
    .Output("dbeta: float")
    .Attr("T: {float, bfloat16}")
    .Attr("groups: int >= 1")
    .Attr("epsilon: float")  // for the gradient of this gradient
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* inference) {
      inference->set_output(0, inference->input(1));
      inference->set_output(1, inference->input(2));
      inference->set_output(2, inference->input(2));
      return absl::OkStatus();
    });

#define REGISTER(Operation, X)                                                                                      \
  REGISTER_KERNEL_BUILDER(Name("Gnexp" #Operation).Device(tensorflow::DEVICE_CPU).TypeConstraint<X>("T"), Operation<X>)
REGISTER(GroupNormalization, float);
REGISTER(GroupNormalization, bfloat16);
REGISTER(GroupNormalizationGrad, float);
REGISTER(GroupNormalizationGrad, bfloat16);
#undef REGISTER

}  // namespace gnexp
