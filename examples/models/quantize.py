"""Q4_K and Q6_K quantisation in numpy, in the block layouts of GGUF.

Both take a float array whose rows are a multiple of 256 long and return the blocks as bytes, one
row of blocks per row of weights. The scales are searched, not just taken from the extremes: for
each small group several grids are tried and the one with the least weighted squared error is kept.
"""

import numpy as np

BLOCK = 256


def _half(x: np.ndarray) -> np.ndarray:
    """What is left of x after it is stored as float16."""
    return x.astype(np.float16).astype(np.float32)


def _safe_inverse(x: np.ndarray) -> np.ndarray:
    return np.divide(1.0, x, out=np.zeros_like(x), where=x != 0)


# --- Q4_K: 8 groups of 32, w = d * scale * q - dmin * min, q in 0..15, scale and min in 0..63 ---


def _fit_groups_with_minimum(x: np.ndarray, weight: np.ndarray) -> tuple:
    """Per group (last axis) a scale and an offset >= 0 so that x is about scale * q - offset."""
    low = np.minimum(x.min(-1, keepdims=True), 0)
    high = np.maximum(x.max(-1, keepdims=True), 0)
    sum_w, sum_x = weight.sum(-1, keepdims=True), (weight * x).sum(-1, keepdims=True)
    best_scale, best_low = (high - low) / 15, low
    best_error = np.full_like(low, np.inf)
    for levels in 15 + np.arange(-1.0, 1.05, 0.1, dtype=np.float32):
        q = np.clip(np.rint((x - low) * levels * _safe_inverse(high - low)), 0, 15)
        # The best line through (q, x) in closed form; without an offset if that would be negative.
        sum_q, sum_qq = (weight * q).sum(-1, keepdims=True), (weight * q * q).sum(-1, keepdims=True)
        sum_qx = (weight * q * x).sum(-1, keepdims=True)
        inverse = _safe_inverse(sum_w * sum_qq - sum_q * sum_q)
        scale = (sum_w * sum_qx - sum_q * sum_x) * inverse
        offset = (sum_qq * sum_x - sum_q * sum_qx) * inverse
        scale = np.where(offset > 0, sum_qx * _safe_inverse(sum_qq), scale)
        offset = np.minimum(offset, 0)
        error = (weight * (scale * q + offset - x) ** 2).sum(-1, keepdims=True)
        better = error < best_error
        best_scale = np.where(better, scale, best_scale)
        best_low = np.where(better, offset, best_low)
        best_error = np.where(better, error, best_error)
    return best_scale[..., 0], -best_low[..., 0]


def quantize_q4_k(weights: np.ndarray) -> np.ndarray:
    x = weights.astype(np.float32).reshape(-1, 8, 32)
    # Large weights matter more: they take part in larger products.
    importance = np.sqrt((x * x).mean(-1, keepdims=True)) + np.abs(x)
    scale, offset = _fit_groups_with_minimum(x, importance)

    d = _half(scale.max(-1, keepdims=True) / 63)
    dmin = _half(offset.max(-1, keepdims=True) / 63)
    sc = np.clip(np.rint(scale * _safe_inverse(d)), 0, 63).astype(np.uint8)
    mn = np.clip(np.rint(offset * _safe_inverse(dmin)), 0, 63).astype(np.uint8)
    # The codes are chosen anew for the scales as they are stored.
    real_scale, real_min = (d * sc)[..., None], (dmin * mn)[..., None]
    q = np.clip(np.rint((x + real_min) * _safe_inverse(real_scale)), 0, 15).astype(np.uint8)

    # 8 scales and 8 minima of 6 bits in 12 bytes: the upper bits of 4..7 lie on top of 0..3.
    first, second = slice(0, 4), slice(4, 8)
    packed_scales = np.concatenate(
        (
            sc[:, first] | (sc[:, second] >> 4) << 6,
            mn[:, first] | (mn[:, second] >> 4) << 6,
            (sc[:, second] & 15) | (mn[:, second] & 15) << 4,
        ),
        axis=1,
    )
    codes = q[:, 0::2] | q[:, 1::2] << 4  # groups 2c and 2c + 1 share 32 bytes
    blocks = np.concatenate(
        (
            d.astype("<f2").view(np.uint8),
            dmin.astype("<f2").view(np.uint8),
            packed_scales,
            codes.reshape(-1, 128),
        ),
        axis=1,
    )
    return blocks.reshape(weights.shape[0], -1)


# --- Q6_K: 16 groups of 16, w = d * scale * (q - 32), q in 0..63, scale in -128..127 ------------


def _fit_groups_symmetric(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Per group (last axis) a scale so that x is about scale * q with q in -32..31."""
    at = np.abs(x).argmax(-1, keepdims=True)
    peak = np.take_along_axis(x, at, -1)  # signed: the largest weight gets the code -32
    best_scale, best_gain = np.zeros_like(peak), np.full_like(peak, -1)
    for levels in 32 + np.arange(-0.9, 0.95, 0.1, dtype=np.float32):
        q = np.clip(np.rint(-x * levels * _safe_inverse(peak)), -32, 31)
        sum_qx = (weight * q * x).sum(-1, keepdims=True)
        sum_qq = (weight * q * q).sum(-1, keepdims=True)
        scale = sum_qx * _safe_inverse(sum_qq)
        gain = scale * sum_qx  # by how much the squared error shrinks
        best_scale = np.where(gain > best_gain, scale, best_scale)
        best_gain = np.maximum(gain, best_gain)
    return best_scale[..., 0]


def quantize_q6_k(weights: np.ndarray) -> np.ndarray:
    x = weights.astype(np.float32).reshape(-1, 16, 16)
    scale = _fit_groups_symmetric(x, x * x)
    at = np.abs(scale).argmax(-1)[:, None]
    d = _half(np.take_along_axis(scale, at, -1) / -128)
    sc = np.clip(np.rint(scale * _safe_inverse(d)), -128, 127).astype(np.int8)
    real_scale = (d * sc)[..., None]
    q = np.clip(np.rint(x * _safe_inverse(real_scale)), -32, 31).astype(np.int8)

    # Two halves of 128; of each, four runs of 32 are spread over the nibbles and the bit pairs.
    code = (q + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    low, high = code & 15, code >> 4
    low_bytes = np.concatenate(
        (low[:, :, 0] | low[:, :, 2] << 4, low[:, :, 1] | low[:, :, 3] << 4), -1
    )
    high_bytes = high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6
    blocks = np.concatenate(
        (
            low_bytes.reshape(-1, 128),
            high_bytes.reshape(-1, 64),
            sc.view(np.uint8),
            d.astype("<f2").view(np.uint8),
        ),
        axis=1,
    )
    return blocks.reshape(weights.shape[0], -1)
