"""The slope of a series by least squares, with an interval that holds for samples that follow each other closely."""
import functools
import math
from statistics import fmean

# Successive samples of a program's memory are alike, and least squares would take each for news. Means over stretches of
# equal length are nearly independent of each other, so they are what is fitted (the method of batch means).
BATCHES = 24
CONFIDENCE = 0.95


@functools.cache  # it takes milliseconds, and few are asked for
def student_quantile(probability, freedom):
    """Of Student's distribution: its density integrated by Simpson's rule, solved by bisection."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)

    def below(t, steps=400):
        width = t / steps
        total = sum((1 if i in (0, steps) else 4 if i % 2 else 2)
                    * (1 + (i * width) ** 2 / freedom) ** (-(freedom + 1) / 2) for i in range(steps + 1))
        return 0.5 + scale * total * width / 3

    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < probability else (low, middle)
    return (low + high) / 2


def batch_means(points, count):
    """Splits (x, y) points, in the order of x, into stretches of equal length in x; the mean point of each that has any."""
    first, last = points[0][0], points[-1][0]
    width = (last - first) / count
    batches = [[] for _ in range(count)]
    for point in points:
        batches[min(count - 1, int((point[0] - first) / width))].append(point)
    return [(fmean(x for x, _ in batch), fmean(y for _, y in batch)) for batch in batches if batch]


def slope(points):
    """{"slope", "low", "high", "start", "batches"} of (x, y) points; None where they are too few to say anything."""
    if len(points) < 4 or points[-1][0] <= points[0][0]:
        return None
    means = batch_means(points, min(BATCHES, len(points)))
    if len(means) < 4:
        return None
    x_mean, y_mean = fmean(x for x, _ in means), fmean(y for _, y in means)
    spread = sum((x - x_mean) ** 2 for x, _ in means)
    rise = sum((x - x_mean) * (y - y_mean) for x, y in means) / spread
    start = y_mean - rise * x_mean
    freedom = len(means) - 2
    residual = sum((y - start - rise * x) ** 2 for x, y in means) / freedom
    half = student_quantile((1 + CONFIDENCE) / 2, freedom) * math.sqrt(residual / spread)
    return {"slope": rise, "low": rise - half, "high": rise + half, "start": start, "batches": len(means)}
