"""Machines with their faults, and sensors with their readings: what to repair and to watch."""

from dataclasses import dataclass
from typing import Tuple


@dataclass(frozen=True)
class Fault:
    """One thing that can be wrong with a machine, and what a careful person does about it."""

    clue: str
    cause: str  # a noun phrase: 'a loose wire'
    tool: str  # what has to be fetched
    fix: str  # past tense, done with {tool}
    advice: str  # imperative, for the chats
    lesson: str


@dataclass(frozen=True)
class Machine:
    name: str
    kinds: Tuple[str, ...]  # which tables of faults apply
    symptom: str  # past tense, subject 'it'
    works: str  # past tense, subject 'it', once it is repaired
    use: str  # what people miss while it is broken


@dataclass(frozen=True)
class Sensor:
    name: str
    measures: str
    unit: str
    normal: Tuple[int, int]
    low: Tuple[int, int]
    high: Tuple[int, int]
    low_sign: str
    low_reason: str
    low_action: str
    high_sign: str
    high_reason: str
    high_action: str


FAULTS = {
    "electric": (
        Fault(
            "one wire hung loose at the back",
            "a loose wire",
            "the screwdriver",
            "pushed the wire back into its place and turned the screw tight with {tool}",
            "look for a loose wire and tighten its screw with a screwdriver",
            "a small loose wire can stop a big machine",
        ),
        Fault(
            "the battery light was as dark as coal",
            "an empty battery",
            "the spare battery",
            "took out the empty battery and put in {tool}",
            "take out the empty battery and put in a fresh one",
            "even a good machine needs energy",
        ),
        Fault(
            "the thin metal thread inside the fuse was broken",
            "a blown fuse",
            "the new fuse",
            "pulled out the black fuse and pressed {tool} into the holder",
            "switch it off, pull out the blown fuse and put in a new one",
            "a fuse breaks so that nothing worse can break",
        ),
        Fault(
            "green rust covered the metal contacts",
            "dirty contacts",
            "the sandpaper",
            "rubbed the contacts with {tool} until they were bright again",
            "clean the contacts gently with fine sandpaper",
            "clean contacts make good friends",
        ),
        Fault(
            "the plug was cracked and one pin was bent",
            "a bent plug",
            "the pliers",
            "held the pin with {tool} and slowly made it straight",
            "switch off the power and straighten the bent pin with pliers",
            "the simplest thing is worth checking first",
        ),
    ),
    "gears": (
        Fault(
            "the gears squeaked and hardly moved",
            "dry gears",
            "the oil can",
            "let three drops fall from {tool} and turned the wheel by hand",
            "put a few drops of oil on the gears and turn them slowly by hand",
            "a little oil saves a lot of trouble",
        ),
        Fault(
            "a tiny stone was stuck between two gears",
            "a stone between the gears",
            "the tweezers",
            "pulled the tiny stone out with {tool}",
            "look between the gears and pull out what is stuck with tweezers",
            "a very small thing can stop a very big wheel",
        ),
        Fault(
            "the belt hung down like a wet noodle",
            "a loose belt",
            "the wrench",
            "turned the nut with {tool} until the belt was tight again",
            "tighten the belt with a wrench, but not too much",
            "not too loose and not too tight is just right",
        ),
        Fault(
            "the spring had snapped in two",
            "a broken spring",
            "the new spring",
            "hooked {tool} into the place of the old one",
            "take out the broken spring and hook in a new one of the same size",
            "some parts cannot be mended, only replaced",
        ),
        Fault(
            "one tooth of the smallest gear was missing",
            "a broken gear",
            "the spare gear",
            "slid the old gear off and put {tool} in its place",
            "find the gear with the missing tooth and put a spare gear in its place",
            "every tooth of a gear does its share",
        ),
    ),
    "air": (
        Fault(
            "the filter was grey with dust",
            "a dusty filter",
            "the soft brush",
            "cleaned the filter with {tool} until it was white again",
            "open the cover and clean the filter with a soft brush",
            "machines need to breathe too",
        ),
        Fault(
            "the hose had a crack as long as a finger",
            "a cracked hose",
            "the strong tape",
            "wrapped {tool} three times around the crack",
            "find the crack in the hose and wrap strong tape around it",
            "a leak is easy to mend once it is found",
        ),
        Fault(
            "dry leaves were packed tight in the pipe",
            "a blocked pipe",
            "the long stick",
            "pushed the leaves out of the pipe with {tool}",
            "push whatever blocks the pipe out with a long stick",
            "what goes in must be able to come out",
        ),
    ),
}

MACHINES = (
    Machine("lamp", ("electric",), "stayed dark", "gave a warm yellow light", "read at night"),
    Machine("radio", ("electric",), "made no sound at all", "played a happy tune", "hear the news"),
    Machine(
        "fan",
        ("electric", "gears", "air"),
        "did not turn",
        "blew cool air across the room",
        "stay cool in the heat",
    ),
    Machine(
        "water pump",
        ("electric", "gears", "air"),
        "gave only one drop of water",
        "pumped clear water again",
        "water the plants",
    ),
    Machine(
        "clock", ("gears",), "had stopped at ten past two", "ticked loud and clear", "know the time"
    ),
    Machine(
        "toy train",
        ("electric", "gears"),
        "stood still on its track",
        "rolled round and round the track",
        "play in the evening",
    ),
    Machine(
        "music box",
        ("gears",),
        "made only a scratchy noise",
        "played its old sweet song",
        "fall asleep to the song",
    ),
    Machine(
        "conveyor belt",
        ("electric", "gears"),
        "did not move the boxes",
        "carried one box after another",
        "move the heavy boxes",
    ),
    Machine(
        "doorbell",
        ("electric",),
        "did not ring",
        "rang twice, bright and clear",
        "hear the visitors",
    ),
    Machine(
        "heater",
        ("electric", "air"),
        "stayed as cold as a stone",
        "filled the room with warm air",
        "stay warm in winter",
    ),
    Machine(
        "vacuum cleaner",
        ("electric", "air"),
        "only coughed and stopped",
        "hummed and picked up every crumb",
        "keep the floor clean",
    ),
    Machine(
        "wind wheel",
        ("gears",),
        "did not turn in the wind",
        "turned fast in the wind",
        "make power from the wind",
    ),
    Machine(
        "telescope motor",
        ("electric", "gears"),
        "did not move at all",
        "turned slowly towards the stars",
        "look at the stars",
    ),
    Machine(
        "signal light",
        ("electric",),
        "did not blink",
        "blinked red and green again",
        "show the way in the fog",
    ),
    Machine(
        "bread oven",
        ("electric", "air"),
        "would not get hot",
        "glowed orange and hot",
        "bake bread",
    ),
    Machine(
        "little rover",
        ("electric", "gears"),
        "would not drive",
        "rolled forward without a sound",
        "carry stones and tools",
    ),
)

SENSORS = (
    Sensor(
        "thermometer",
        "the temperature",
        "degrees",
        (18, 23),
        (2, 9),
        (33, 39),
        "The air was so cold that breath turned to mist",
        "a window had been left open",
        "closed the window and lit the stove",
        "The air was hot and heavy",
        "the heater had been left on",
        "turned the heater off and opened the window",
    ),
    Sensor(
        "moisture sensor",
        "how wet the soil is",
        "percent",
        (45, 60),
        (5, 14),
        (88, 97),
        "The leaves hung down and the soil was like dust",
        "nobody had watered the plants for days",
        "filled the watering can and gave the plants a long drink",
        "The soil was like mud and the leaves were yellow",
        "the tap had been dripping all night",
        "closed the tap and dug a little ditch for the water",
    ),
    Sensor(
        "light sensor",
        "how bright it is",
        "lux",
        (300, 500),
        (10, 40),
        (900, 990),
        "It was so dim that nobody could read",
        "a thick layer of dust covered the lamp",
        "wiped the lamp clean with a soft cloth",
        "It was so bright that everyone had to blink",
        "the curtain had fallen down",
        "hung the curtain back in its place",
    ),
    Sensor(
        "water gauge",
        "the height of the water",
        "centimetres",
        (60, 80),
        (4, 12),
        (130, 150),
        "The tank was almost empty",
        "there was a small hole in the pipe",
        "wrapped tape around the hole and filled the tank",
        "Water was already running over the edge",
        "leaves had blocked the drain",
        "pulled the wet leaves out of the drain",
    ),
    Sensor(
        "pressure gauge",
        "the pressure of the air",
        "units",
        (30, 40),
        (5, 12),
        (70, 85),
        "The tire was soft and flat",
        "a valve was not quite closed",
        "closed the valve and pumped in fresh air",
        "The hose was as hard as stone",
        "a valve was stuck",
        "opened the valve slowly until it stopped hissing",
    ),
    Sensor(
        "sound meter",
        "how loud it is",
        "decibels",
        (30, 45),
        (3, 8),
        (90, 99),
        "It was so silent that something seemed to be wrong",
        "the meter was wrapped in a woolen scarf",
        "unwrapped the scarf and set the meter free",
        "Everyone had to cover their ears",
        "a loose metal plate was rattling",
        "tightened the loose plate with two screws",
    ),
)
