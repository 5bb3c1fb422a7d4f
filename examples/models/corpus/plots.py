"""The choice of a plot, and the one call that makes a story."""

import random

from . import world
from .friend_plots import gift, learn_word, promise, seed, share, shy_robot
from .journey_plots import delivery, forecast, lost, race, rescue, rover
from .night_plots import message, night_noise, power_cut
from .teller import Teller
from .workshop_plots import build, repair, sensor, sorting, two_sensors, wrong_scale

# Each plot with how often it is told; more often where its tables have more to tell.
PLOTS = {
    repair: 4,
    lost: 2,
    sensor: 2,
    build: 2,
    delivery: 2,
    rescue: 1,
    share: 1,
    power_cut: 1,
    race: 1,
    night_noise: 1,
    promise: 1,
    sorting: 1,
    gift: 1,
    wrong_scale: 1,
    rover: 1,
    two_sensors: 1,
    forecast: 1,
    seed: 1,
    shy_robot: 1,
    message: 1,
    learn_word: 1,
}
# What has air, weather and goats in it cannot happen on the moon.
EARTH_ONLY = (
    rescue,
    build,
    power_cut,
    delivery,
    night_noise,
    promise,
    wrong_scale,
    forecast,
    seed,
    message,
    learn_word,
)


def tell_story(rng: random.Random) -> Teller:
    """One finished story; the plot and everything in it depend on rng alone."""
    plot = rng.choices(list(PLOTS), weights=list(PLOTS.values()))[0]
    settings = [s for s in world.SETTINGS if s != "moon base" or plot not in EARTH_ONLY]
    teller = Teller(rng, settings)
    plot(teller)
    return teller
